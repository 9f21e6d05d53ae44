"""How a message goes back into the queue that it came from, or into the dead letters: as it was, byte for byte."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from kombu.entity import Queue
from kombu.exceptions import OperationalError

from celerykit.brokers import catalogue, rabbitmq
from celerykit.messages import dead_letters
from celerykit.worker import origins

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

PAUSE = 60.0
"""Seconds for which RabbitMQ is not asked again to delay jobs after it has refused one."""
OWN = frozenset(
    {
        *("application_headers", "body_encoding", "content_encoding", "content_type", "delivery_info"),
        *("delivery_tag", "priority"),
        "user_id",  # RabbitMQ takes it from nobody but that user
    }
)
"""Properties of a message that are not copied with the others: each has a place of its own, or is the sender's."""


def is_broadcast(message: Any) -> bool:
    """Say whether a message came to all workers, by no queue: so it is with a broadcast on Redis."""
    return origins.origin_of(message)["queue"] in getattr(message.channel, "active_fanout_queues", ())


def can_go_back(message: Any) -> bool:
    """Say whether a message came from a queue that is known, and that others may still take it from."""
    return bool(origins.origin_of(message)["queue"]) and not is_broadcast(message)


def send_back(app: Any, message: Any, seconds: float, counter: str = "") -> bool:
    """Put a job back into its queue, not to run for so many seconds.

    :param counter: the header that counts this, nothing if it does not count.
    :returns: whether that has settled the message; else it is to be acknowledged now.
    :raises kombu.exceptions.KombuError: if the broker does not take it, and so do errors of the broker's client.
    """
    origin = origins.origin_of(message)

    def change(headers: dict[str, Any]) -> None:
        dead_letters.count(headers, seconds, counter)

    if hasattr(message.channel, "put_back"):
        message.channel.put_back(message, change)
        return True
    headers = _headers(message, change)
    headers.setdefault(dead_letters.ORIGIN, origin)
    # RabbitMQ forgets when a message expires once it has delayed it.
    delay = 0.0 if message.properties.get("expiration") else seconds
    _copy(app, message, headers, lambda connection: rabbitmq.way_back(app, connection, origin["queue"], delay))
    return False


def put_off(app: Any, message: Any, due: float, name: str) -> bool:
    """Have the broker keep a job until its time has come, and settle its message.

    :param due: in seconds since the epoch.
    :param name: the job's id.
    :returns: False if the broker cannot do that, or not now: nothing has been done then.
    """
    if hasattr(message.channel, "put_off"):
        return bool(message.channel.put_off(message, due, name))
    # RabbitMQ forgets when a message expires once it has delayed it.
    if not catalogue.is_rabbitmq(app) or message.properties.get("expiration"):
        return False
    return DELAYS.put_off(app, message, due)


class Delays:
    """The delays of RabbitMQ, as long as it takes jobs into them."""

    def __init__(self) -> None:
        self._refused_until = 0.0

    def put_off(self, app: Any, message: Any, due: float) -> bool:
        """Have RabbitMQ keep a copy of a job, and acknowledge the message; say whether it does.

        Senders with the kit have it delayed on the way to its queue; not those without, or to a topic's many queues.
        """
        if time.monotonic() < self._refused_until or not rabbitmq.keeps_delays(app, _connection_of(message)):
            return False
        origin = origins.origin_of(message)

        def way(connection: Any) -> tuple[str, str]:
            told = rabbitmq.way_later(app, connection, origin["queue"], due - time.time())
            if told is None:
                raise OperationalError(f"it cannot delay jobs of queue {origin['queue']}")
            return told

        headers = _headers(message, lambda headers: None)
        headers.setdefault(dead_letters.ORIGIN, origin)
        try:
            _copy(app, message, headers, way)
        except Exception as exc:  # whatever it is, Celery holds the job as it would without the kit
            self._refused_until = time.monotonic() + PAUSE
            logger.warning("jobs wait in this worker until they are due, for RabbitMQ does not take them: %s", exc)
            return False
        message.ack_log_error(logger, _connection_of(message).connection_errors)
        return True


DELAYS = Delays()


def _connection_of(message: Any) -> Any:
    return message.channel.connection.client


def bury(app: Any, message: Any, reason: str) -> bool:
    """Put a message into the dead letters, with the reason and where it came from.

    :returns: whether that has settled the message; else it is to be acknowledged now.
    :raises kombu.exceptions.KombuError: if the broker does not take it, and so do errors of the broker's client.
    """
    change = partial(dead_letters.address, reason=reason, origin=origins.origin_of(message))
    if hasattr(message.channel, "put_back"):
        message.channel.put_back(message, change, dead_letters.QUEUE)
        return True
    _copy(app, message, _headers(message, change), _way_to_the_dead_letters)
    return False


def _way_to_the_dead_letters(connection: Any) -> tuple[str, str]:
    with connection.channel() as channel:
        Queue(dead_letters.QUEUE, routing_key=dead_letters.QUEUE, durable=True)(channel).declare()  # type: ignore[no-untyped-call]
    return "", dead_letters.QUEUE


def _headers(message: Any, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    past = dead_letters.OF_RABBITMQ
    headers = {name: value for name, value in (message.headers or {}).items() if not name.startswith(past)}
    change(headers)
    return headers


def _copy(app: Any, message: Any, headers: dict[str, Any], way: Callable[[Any], tuple[str, str]]) -> None:
    """Publish a copy, and return when it lies in a queue: an exchange that routes it nowhere is an error."""

    def publish() -> None:
        producer.connection.ensure_connection(max_retries=1)  # one that was closed makes no channel
        with rabbitmq.answered(producer.connection), producer.connection.channel() as channel:
            exchange, routing_key = way(producer.connection)
            copied = channel.prepare_message(
                origins.body_of(message),
                priority=message.properties.get("priority"),
                content_type=message.content_type,
                content_encoding=message.content_encoding,
                headers=headers,
                properties={name: value for name, value in message.properties.items() if name not in OWN},
            )
            channel.basic_publish(copied, exchange=exchange, routing_key=routing_key, mandatory=True)

    with app.producer_or_acquire() as producer:
        producer.connection.ensure(producer, publish, **app.conf.task_publish_retry_policy)()
