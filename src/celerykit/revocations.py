"""Revocations, kept where the broker is: what was revoked stays so when every worker that heard of it has ended."""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

import celery.app.control
from celery.utils.functional import maybe_list
from celery.worker import state
from kombu.utils.json import dumps, loads

from celerykit import brokers
from celerykit.settings import patience

if TYPE_CHECKING:
    import amqp

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

STOCK_CLASS = "celery.app.control:Control"
CLASS = "celerykit.revocations:Control"

KEEP = 30 * 86400.0
"""Seconds for which a revocation is kept, unless Celery's own variable says otherwise: jobs wait for an ETA so long."""
STREAM = "celerykit.revoked"
"""RabbitMQ's stream of them: whoever reads it, the others find it as it was."""
STREAM_ARGUMENTS = {
    "x-queue-type": "stream",
    "x-max-length-bytes": 16_000_000,  # some 80,000 messages; the server drops the oldest by whole segments
    "x-stream-max-segment-size-bytes": 2_000_000,
}
AT_ONCE = 500
"""Revocations in one message or script."""

Revocation = str
"""A list in JSON: of a job's id, or of a stamp's header and its value."""
Said = tuple[Revocation, float]
"""A revocation, and the seconds since the epoch when it was last said."""


def keep_seconds() -> float:
    """Return the seconds for which a revocation is kept."""
    return state.REVOKE_EXPIRES if "CELERY_WORKER_REVOKE_EXPIRES" in os.environ else KEEP


def revocation(*parts: Any) -> Revocation:
    """Return the revocation of an id, or of a stamp's header and value."""
    return str(dumps(parts))  # type: ignore[no-untyped-call]


def parts_of(revocation: Revocation) -> list[Any]:
    """Return what :func:`revocation` was given."""
    return list(loads(revocation))  # type: ignore[no-untyped-call]


def of_jobs(task_id: Any) -> list[Revocation]:
    """Return the revocations of one id or several, as Celery's ``revoke`` takes them."""
    return [revocation(job) for job in dict.fromkeys(maybe_list(task_id) or ())]


def of_stamps(headers: Any) -> list[Revocation]:
    """Return the revocations of stamped headers, as Celery's ``revoke_by_stamped_headers`` takes them."""
    if not isinstance(headers, Mapping):
        headers = dict(pair.split("=")[:2] for pair in headers)
    return [revocation(header, value) for header, values in headers.items() for value in maybe_list(values) or ()]


class Store(Protocol):
    """Where the revocations of one broker are."""

    poll: float | None
    """Seconds between two looks for what others have written, if a look costs next to nothing."""

    def write(self, connection: Any, revocations: Sequence[Revocation]) -> None:
        """Keep some, by an open connection of Kombu's."""

    def read(self, connection: Any) -> Iterable[Said]:
        """Return those that were written since the last look, and perhaps some of before."""


def store_of(app: Any) -> Store | None:
    """Return the store of an app's broker, None if that keeps no revocations."""
    scheme = brokers.scheme_of(brokers.broker_urls(app.conf)[0])
    if scheme in brokers.REDIS:
        return InRedis()
    return InRabbitMQ() if scheme in brokers.AMQP else None


class InRedis:
    """A sorted set in Redis, by the server's time."""

    poll: float | None = 30.0

    def __init__(self) -> None:
        self._last = 0.0

    def write(self, connection: Any, revocations: Sequence[Revocation]) -> None:
        """Keep some."""
        from celerykit.transports.redis import scripts

        with closing(connection.channel()) as channel:
            client, key = _redis(channel)
            for some in _parts(revocations):
                scripts.REVOKE(client, [key], [keep_seconds(), state.REVOKES_MAX, *some])

    def read(self, connection: Any) -> Iterator[Said]:
        """Yield what was written since the last look; a clock that was set back in between costs a minute at most."""
        with closing(connection.channel()) as channel:
            client, key = _redis(channel)
            now = client.time()[0]
            found = client.zrangebyscore(key, max(self._last, now - keep_seconds()), "+inf", withscores=True)
        self._last = now - 60.0
        yield from ((revocation.decode(), when) for revocation, when in found)


def _redis(channel: Any) -> tuple[Any, str]:
    """Return a client of a channel's server that leaves keys as they are, and the key of the revocations."""
    import redis

    from celerykit.transports.redis import keys

    return redis.Redis(connection_pool=channel.pool), keys.of(channel).revoked


class InRabbitMQ:
    """A stream in RabbitMQ, which each worker reads from where it was."""

    poll: float | None = None

    def __init__(self) -> None:
        self._next: int | str = "first"

    def write(self, connection: Any, revocations: Sequence[Revocation]) -> None:
        """Keep some; each message is confirmed by the server."""
        with self._channel(connection) as channel:
            for some in _parts(revocations):
                _publish(channel, some)

    def read(self, connection: Any) -> list[Said]:
        """Return what was written since the last look.

        A mark of this reader's own tells it where the end is: everything that was confirmed before lies before it.
        """
        reading = Reading(self._next)
        self._next = "first"  # whatever goes wrong, the next one misses nothing
        with self._channel(connection) as channel:
            channel.basic_qos(0, 1000, False)
            channel.basic_consume(STREAM, callback=reading.take, arguments={"x-stream-offset": reading.next})
            _publish(channel, [], correlation_id=reading.mark)
            while not reading.is_over:
                channel.connection.drain_events(timeout=patience())
        self._next = reading.next
        return reading.found

    def _channel(self, connection: Any) -> Any:
        channel = connection.channel()
        with channel.connection.transport.having_timeout(patience()):
            channel.queue_declare(STREAM, durable=True, auto_delete=False, arguments=STREAM_ARGUMENTS)
        return closing(channel)


class Reading:
    """One look into the stream."""

    def __init__(self, offset: int | str):
        self.next = offset
        self.mark = uuid.uuid4().hex
        self.found: list[Said] = []
        self.is_over = False

    def take(self, message: amqp.Message) -> None:
        """Take the next message."""
        offset = int(message.headers["x-stream-offset"])
        self.next = offset + 1
        if message.properties.get("correlation_id") == self.mark:
            self.is_over = True
            return
        when = float(message.headers["said"])
        if when > time.time() - keep_seconds():
            self.found += ((revocation, when) for revocation in json.loads(message.body))
        if not offset % 100:
            message.channel.basic_ack(message.delivery_tag, multiple=True)


def _publish(channel: Any, revocations: Sequence[Revocation], **properties: Any) -> None:
    message = channel.prepare_message(
        json.dumps(list(revocations)),
        content_type="application/json",
        content_encoding="utf-8",
        headers={"said": time.time()},
        properties={"delivery_mode": 2, **properties},
    )
    with channel.connection.transport.having_timeout(patience()):
        channel.basic_publish_confirm(message, exchange="", routing_key=STREAM, confirm_timeout=patience())


def _parts(revocations: Sequence[Revocation]) -> Iterator[Sequence[Revocation]]:
    for start in range(0, len(revocations), AT_ONCE):
        yield revocations[start : start + AT_ONCE]


class Control(celery.app.control.Control):  # type: ignore[misc]
    """Celery's remote control, which has a revocation kept before it tells the workers, for there may be none."""

    _is_refused = False

    def revoke(self, task_id: Any, *args: Any, **options: Any) -> Any:
        """Revoke jobs."""
        self._keep(of_jobs(task_id))
        return super().revoke(task_id, *args, **options)

    def revoke_by_stamped_headers(self, headers: Any, *args: Any, **options: Any) -> Any:
        """Revoke all jobs with such stamps."""
        self._keep(of_stamps(headers))
        return super().revoke_by_stamped_headers(headers, *args, **options)

    def _keep(self, revocations: Sequence[Revocation]) -> None:
        """Keep them, if the broker lets this user do so: workers do it, too, and none of them knows of the other."""
        store = store_of(self.app)
        if store is None or self._is_refused:
            return
        try:
            with self.app.connection_or_acquire() as connection:
                store.write(connection, revocations)
        except Exception as exc:  # whatever it is, the workers must be told
            self._is_refused = True
            logger.info("revocations are kept by workers alone, for the broker does not take them from here: %r", exc)


def install(app: Any) -> None:
    """Have revocations by ``app`` kept; where it has a remote control of its own, nothing changes."""
    if app.control_cls == STOCK_CLASS:
        app.control_cls = CLASS
        if type(early := vars(app).get("control")) is celery.app.control.Control:
            early.__class__ = Control
