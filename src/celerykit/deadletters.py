"""The dead letters: jobs that were given up, kept in a queue of the same broker that nothing consumes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from kombu.entity import Queue

from celerykit import defaults, rabbitmq

if TYPE_CHECKING:
    from collections.abc import Mapping

QUEUE = defaults.DEAD_LETTERS
DELIVERIES = "celerykit_deliveries"
"""Message header: how often the job was delivered before, without this time."""
REASON = "celerykit_reason"
"""Message header of a dead letter: why it was given up."""

OF_RABBITMQ = ("x-acquired-count", "x-death", "x-delivery-count", "x-first-death", "x-last-death")
"""Beginnings of the headers in which RabbitMQ writes a message's past, which a new message does not have."""


def deliveries(message: Any) -> int:
    """Return how often ``message`` was delivered, this time included."""
    return int((message.headers or {}).get(DELIVERIES, 0)) + 1


def redelivery_delay(deliveries: int) -> int:
    """Return the seconds to wait after ``deliveries`` deliveries: 1, 2, 4, ... and at most 60."""
    return int(min(2 ** (deliveries - 1), 60))


def bury(producer: Any, message: Any, reason: str) -> None:
    """Keep a copy of ``message`` in the dead letters, without its priority: on Redis that would be another list.

    :param producer: a :class:`kombu.Producer`.
    :raises kombu.exceptions.OperationalError: if the broker does not take it.
    """
    headers = {**(message.headers or {}), DELIVERIES: deliveries(message), REASON: reason}
    queue = Queue(QUEUE, routing_key=QUEUE, durable=True)  # type: ignore[no-untyped-call]
    _publish(producer, message, headers, exchange="", routing_key=QUEUE, declare=[queue])


def send_again(app: Any, producer: Any, message: Any, seconds: int) -> None:
    """Send ``message`` to where it came from once more, counted, not to run for so many seconds.

    :param producer: a :class:`kombu.Producer`.
    :raises kombu.exceptions.OperationalError: if the broker does not take it.
    """
    eta = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    headers = {**message.headers, DELIVERIES: deliveries(message), "eta": eta.isoformat()}
    origin = message.delivery_info
    destination = {"exchange": origin.get("exchange", ""), "routing_key": origin["routing_key"]}
    priority = origin.get("priority", message.properties.get("priority"))
    if priority is not None:
        destination["priority"] = priority
    destination |= rabbitmq.delayed(app, producer.connection, origin["routing_key"], seconds)
    _publish(producer, message, headers, **destination)


def _publish(producer: Any, message: Any, headers: Mapping[str, Any], **destination: Any) -> None:
    """Publish the body byte for byte as it came: links, chords and arguments stay what they are."""
    kept = {name: message.properties[name] for name in ("correlation_id", "reply_to") if name in message.properties}
    producer.publish(
        message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers={name: value for name, value in headers.items() if not name.startswith(OF_RABBITMQ)},
        delivery_mode=2,
        retry=True,
        **kept,
        **destination,
    )
