"""Revocations, kept on the broker: a job stays revoked after the end of every worker that received the revocation."""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Protocol

import celery.app.control
from celery.utils.functional import maybe_list
from kombu.utils.json import dumps, loads

from celerykit.brokers import catalogue, rabbitmq_definitions
from celerykit.config.settings import patience

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator

    import amqp

    from celerykit.transports.redis.keys import Keys

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

KEEP = 30 * 86400.0
"""Seconds for which a revocation is kept, unless Celery's own variable sets them: jobs may wait for an ETA so long."""
PREFETCH = 20_000
"""Unacknowledged messages of the stream: a server short of memory reads no acknowledgement, and so sends no more."""
REFUSALS, REFUSED = ("AccessRefused", "NoPermissionError"), 600.0
"""The errors of a user without rights, and the seconds before the next attempt."""
AT_ONCE = 500
"""Revocations in one message or script."""

Revocation = str
"""A list in JSON: of a job's id, or of a stamp's header and its value."""
Said = tuple[Revocation, float]
"""A revocation, and its latest time in seconds since the epoch."""


def keep_seconds() -> float:
    """Return the seconds for which a revocation is kept."""
    from celery.worker import state  # here, because most programs that revoke do not need it

    return state.REVOKE_EXPIRES if "CELERY_WORKER_REVOKE_EXPIRES" in os.environ else KEEP


def revocation(*parts: Any) -> Revocation:
    """Return the revocation of an id, or of a stamp's header and value."""
    try:
        return str(dumps(parts))  # type: ignore[no-untyped-call]
    except TypeError:  # a stamp of an app's own type
        return json.dumps(list(map(repr, parts)))


def parts_of(revocation: Revocation) -> list[Any]:
    """Return the arguments of :func:`revocation`."""
    return list(loads(revocation))  # type: ignore[no-untyped-call]


def of_jobs(task_id: Any) -> list[Revocation]:
    """Return the revocations of one id or several, as Celery's ``revoke`` takes them."""
    return [revocation(job) for job in dict.fromkeys(maybe_list(task_id) or ())]


def of_stamps(headers: Any) -> list[Revocation]:
    """Return the revocations of stamped headers, as Celery's ``revoke_by_stamped_headers`` takes them."""
    if not isinstance(headers, Mapping):
        headers = dict(pair.split("=")[:2] for pair in headers if "=" in pair)
    return [revocation(header, value) for header, values in headers.items() for value in maybe_list(values) or ()]


class Store(Protocol):
    """The revocations kept on one broker."""

    poll: float | None
    """Seconds between two reads, None if a read is too expensive to repeat."""

    def write(self, connection: Any, revocations: Sequence[Revocation]) -> None:
        """Keep some revocations, by an open connection of Kombu's."""

    def read(self, connection: Any, entries: deque[Said]) -> None:
        """Append the revocations since the last read to ``entries``, perhaps older ones; after an error, a part."""


def store_of(app: Any) -> Store | None:
    """Return the store of an app's broker, None if the broker keeps no revocations."""
    scheme = catalogue.scheme_of(catalogue.broker_urls(app.conf)[0])
    if scheme in catalogue.REDIS:
        return InRedis()
    return InRabbitMQ() if scheme in catalogue.AMQP else None


class InRedis:
    """A sorted set in Redis, by the server's time."""

    poll: float | None = 30.0

    def __init__(self) -> None:
        self._last = 0.0

    def write(self, connection: Any, revocations: Sequence[Revocation]) -> None:
        """Keep some."""
        from celery.worker import state

        from celerykit.transports.redis import scripts

        with closing(connection.channel()) as channel:
            client, names = _redis(channel)
            for some in _parts(revocations):
                scripts.REVOKE(client, [names.revoked, names.waiting], [keep_seconds(), state.REVOKES_MAX, *some])

    def read(self, connection: Any, entries: deque[Said]) -> None:
        """Append the revocations since the last read, less a minute, because the server's clock may be set back."""
        with closing(connection.channel()) as channel:
            client, names = _redis(channel)
            now = client.time()[0]
            since = max(self._last, now - keep_seconds())
            members = client.zrangebyscore(names.revoked, since, "+inf", withscores=True)
        self._last = now - 60.0
        entries.extend((revocation.decode(), when) for revocation, when in members)


def _redis(channel: Any) -> tuple[Any, Keys]:
    """Return a client of a channel's server that leaves keys as they are, and the keys there."""
    import redis

    from celerykit.transports.redis import keys

    return redis.Redis(connection_pool=channel.pool), keys.of(channel)


class InRabbitMQ:
    """A stream in RabbitMQ; each worker reads on from its own offset."""

    poll: float | None = None

    def __init__(self) -> None:
        self._next: int | str = "first"

    def write(self, connection: Any, revocations: Sequence[Revocation]) -> None:
        """Keep some revocations; the server confirms each message."""
        with self._channel(connection) as channel:
            for some in _parts(revocations):
                _publish(channel, some)

    def read(self, connection: Any, entries: deque[Said]) -> None:
        """Append the revocations since the last read.

        The reader publishes a mark, and reads up to it: every message confirmed earlier lies before the mark.
        """
        reading = Reading(self._next, entries)
        self._next = "first"  # after any error, the next read starts from the beginning
        with self._channel(connection) as channel:
            channel.basic_qos(0, PREFETCH, False)
            channel.basic_consume(
                rabbitmq_definitions.REVOKED, callback=reading.take, arguments={"x-stream-offset": reading.next}
            )
            _publish(channel, [], correlation_id=reading.mark)
            while not reading.is_over:
                channel.connection.drain_events(timeout=patience())
        self._next = reading.next

    def _channel(self, connection: Any) -> Any:
        channel = connection.channel()
        with channel.connection.transport.having_timeout(patience()):
            channel.queue_declare(
                rabbitmq_definitions.REVOKED,
                durable=True,
                auto_delete=False,
                arguments=rabbitmq_definitions.REVOKED_ARGUMENTS,
            )
        return closing(channel)


class Reading:
    """One read of the stream."""

    def __init__(self, offset: int | str, entries: deque[Said]):
        self.next = offset
        self.mark = uuid.uuid4().hex
        self.entries = entries
        self.is_over = False
        self._since = time.time() - keep_seconds()

    def take(self, message: amqp.Message) -> None:
        """Process the next message."""
        offset = int(message.headers["x-stream-offset"])
        self.next = offset + 1
        if message.properties.get("correlation_id") == self.mark:
            self.is_over = True
            return
        if not offset % (PREFETCH // 4):
            message.channel.basic_ack(message.delivery_tag, multiple=True)
        with suppress(KeyError, TypeError, ValueError):  # a foreign message
            when = float(message.headers["said"])
            if when > self._since:
                self.entries.extend((str(revocation), when) for revocation in json.loads(message.body))


def _publish(channel: Any, revocations: Sequence[Revocation], **properties: Any) -> None:
    message = channel.prepare_message(
        json.dumps(list(revocations)),
        content_type="application/json",
        content_encoding="utf-8",
        headers={"said": time.time()},
        properties={"delivery_mode": 2, **properties},
    )
    with channel.connection.transport.having_timeout(patience()):
        channel.basic_publish_confirm(
            message, exchange="", routing_key=rabbitmq_definitions.REVOKED, confirm_timeout=patience()
        )


def _parts(revocations: Sequence[Revocation]) -> Iterator[Sequence[Revocation]]:
    for start in range(0, len(revocations), AT_ONCE):
        yield revocations[start : start + AT_ONCE]


class Control(celery.app.control.Control):  # type: ignore[misc]
    """Celery's remote control; it keeps a revocation before it sends it to the workers, because none may run."""

    _refused_at = 0.0

    def revoke(self, task_id: Any, *args: Any, **options: Any) -> Any:
        """Revoke jobs."""
        self._keep(of_jobs, task_id)
        return super().revoke(task_id, *args, **options)

    def revoke_by_stamped_headers(self, headers: Any, *args: Any, **options: Any) -> Any:
        """Revoke all jobs with these stamps."""
        self._keep(of_stamps, headers)
        return super().revoke_by_stamped_headers(headers, *args, **options)

    def _keep(self, read: Callable[[Any], list[Revocation]], revoked: Any) -> None:
        """Keep the revocations, if the broker accepts them from this program; workers keep them, too."""
        try:
            store = store_of(self.app)
            if store is None or time.time() - self._refused_at < REFUSED:
                return
            with self.app.connection_or_acquire() as connection:
                store.write(connection, read(revoked))
        except Exception as exc:  # after any error, the workers must still get the revocation
            if type(exc).__name__ in REFUSALS:
                self._refused_at = time.time()
            logger.info("the broker does not keep a revocation of this program, but workers keep it: %r", exc)
