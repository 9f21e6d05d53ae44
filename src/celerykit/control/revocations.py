"""Revocations, kept where the broker is: what was revoked stays so when every worker that heard of it has ended."""

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
"""Seconds for which a revocation is kept, unless Celery's own variable says otherwise: jobs wait for an ETA so long."""
PREFETCH = 20_000
"""Messages of the stream that are under way: a server that is short of memory reads no word that it may send more."""
REFUSALS, REFUSED = ("AccessRefused", "NoPermissionError"), 600.0
"""What a broker says to a user without the rights, and for how many seconds that is not tried again."""
AT_ONCE = 500
"""Revocations in one message or script."""

Revocation = str
"""A list in JSON: of a job's id, or of a stamp's header and its value."""
Said = tuple[Revocation, float]
"""A revocation, and the seconds since the epoch when it was last said."""


def keep_seconds() -> float:
    """Return the seconds for which a revocation is kept."""
    from celery.worker import state  # which most programs that revoke do without

    return state.REVOKE_EXPIRES if "CELERY_WORKER_REVOKE_EXPIRES" in os.environ else KEEP


def revocation(*parts: Any) -> Revocation:
    """Return the revocation of an id, or of a stamp's header and value."""
    try:
        return str(dumps(parts))  # type: ignore[no-untyped-call]
    except TypeError:  # a stamp of an app's own type
        return json.dumps(list(map(repr, parts)))


def parts_of(revocation: Revocation) -> list[Any]:
    """Return what :func:`revocation` was given."""
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
    """Where the revocations of one broker are."""

    poll: float | None
    """Seconds between two looks for what others have written, if a look costs next to nothing."""

    def write(self, connection: Any, revocations: Sequence[Revocation]) -> None:
        """Keep some, by an open connection of Kombu's."""

    def read(self, connection: Any, found: deque[Said]) -> None:
        """Append those that were written since the last look, and perhaps some of before; at a failure, a part."""


def store_of(app: Any) -> Store | None:
    """Return the store of an app's broker, None if that keeps no revocations."""
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

    def read(self, connection: Any, found: deque[Said]) -> None:
        """Append what was written since the last look; a minute of it is read again, for clocks are set."""
        with closing(connection.channel()) as channel:
            client, names = _redis(channel)
            now = client.time()[0]
            since = max(self._last, now - keep_seconds())
            said = client.zrangebyscore(names.revoked, since, "+inf", withscores=True)
        self._last = now - 60.0
        found.extend((revocation.decode(), when) for revocation, when in said)


def _redis(channel: Any) -> tuple[Any, Keys]:
    """Return a client of a channel's server that leaves keys as they are, and the keys there."""
    import redis

    from celerykit.transports.redis import keys

    return redis.Redis(connection_pool=channel.pool), keys.of(channel)


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

    def read(self, connection: Any, found: deque[Said]) -> None:
        """Append what was written since the last look.

        A mark of this reader's own tells it where the end is: everything that was confirmed before lies before it.
        """
        reading = Reading(self._next, found)
        self._next = "first"  # whatever goes wrong, the next one misses nothing
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
    """One look into the stream."""

    def __init__(self, offset: int | str, found: deque[Said]):
        self.next = offset
        self.mark = uuid.uuid4().hex
        self.found = found
        self.is_over = False
        self._since = time.time() - keep_seconds()

    def take(self, message: amqp.Message) -> None:
        """Take the next message."""
        offset = int(message.headers["x-stream-offset"])
        self.next = offset + 1
        if message.properties.get("correlation_id") == self.mark:
            self.is_over = True
            return
        if not offset % (PREFETCH // 4):
            message.channel.basic_ack(message.delivery_tag, multiple=True)
        with suppress(KeyError, TypeError, ValueError):  # what somebody else has put there
            when = float(message.headers["said"])
            if when > self._since:
                self.found.extend((str(revocation), when) for revocation in json.loads(message.body))


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
    """Celery's remote control, which has a revocation kept before it tells the workers, for there may be none."""

    _refused_at = 0.0

    def revoke(self, task_id: Any, *args: Any, **options: Any) -> Any:
        """Revoke jobs."""
        self._keep(of_jobs, task_id)
        return super().revoke(task_id, *args, **options)

    def revoke_by_stamped_headers(self, headers: Any, *args: Any, **options: Any) -> Any:
        """Revoke all jobs with such stamps."""
        self._keep(of_stamps, headers)
        return super().revoke_by_stamped_headers(headers, *args, **options)

    def _keep(self, read: Callable[[Any], list[Revocation]], told: Any) -> None:
        """Have it kept, if the broker takes it from here: workers see to that, too, and none knows of the other."""
        try:
            store = store_of(self.app)
            if store is None or time.time() - self._refused_at < REFUSED:
                return
            with self.app.connection_or_acquire() as connection:
                store.write(connection, read(told))
        except Exception as exc:  # whatever it is, the workers must be told
            if type(exc).__name__ in REFUSALS:
                self._refused_at = time.time()
            logger.info("this revocation is kept by workers alone, for the broker does not take it from here: %r", exc)
