"""The event loop of a worker and its broker connection, on each supported release: timers, sockets, running jobs."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from celerykit import releases

if TYPE_CHECKING:
    from collections.abc import Iterator


def keeps_prefetch(consumer: Any) -> bool:
    """Say whether the broker keeps the first prefetch count of a consumer.

    :param consumer: Celery's consumer, connected.
    """
    if not releases.lacks("known prefetch"):
        return consumer.qos_global is False
    from celery.worker.consumer.tasks import Tasks

    return not next(step for step in consumer.steps if isinstance(step, Tasks)).qos_global(consumer)


def bound_sockets(connection: Any, seconds: float) -> None:
    """Set a time-out on the open sockets of a broker's connection, where possible.

    :param connection: a :class:`kombu.Connection`.
    """
    if not releases.lacks("closed connections"):
        from celery.utils.threads import bound_open_broker_sockets

        bound_open_broker_sockets(connection, seconds)
        return
    with suppress(Exception):  # the connection is about to be dropped, in any state
        for sock in _sockets(connection):
            sock.settimeout(seconds)


def _sockets(connection: Any) -> Iterator[Any]:
    for channel in list(getattr(connection.transport, "channels", None) or ()):
        for name in ("client", "subclient"):  # from the cache: the attribute itself would connect
            client = vars(channel).get(name)
            if (sock := getattr(getattr(client, "connection", None), "_sock", None)) is not None:
                yield sock
    sock = getattr(getattr(connection._connection, "_transport", None), "sock", None)
    if sock is not None:
        yield sock


class Timers:
    """The timer entries of a worker's broker connection: only they end with the connection.

    :param consumer: Celery's consumer.
    """

    def __init__(self, consumer: Any):
        self._consumer = consumer
        self._before: set[Any] = set()
        self._registered: set[Any] | None = None
        if releases.lacks("timers") and consumer.timer is not None:
            consumer.timer.clear = self._end

    def connecting(self) -> None:
        """Start the registration: new timer entries belong to the connection."""
        if releases.lacks("timers"):
            self._before, self._registered = self._entries(), None

    def connected(self) -> None:
        """End the registration: new timer entries belong to running jobs."""
        if releases.lacks("timers"):
            self._registered = self._entries() - self._before

    def _end(self) -> None:
        """Cancel the connection's entries and the waiting ETA jobs, in place of Celery's clearing of the timer."""
        due = self._registered if self._registered is not None else self._entries() - self._before
        queue = getattr(self._consumer.timer, "schedule", self._consumer.timer)._queue
        for item in list(queue):
            # A job that waits for its ETA is delivered again.
            if item.entry not in due and item.entry.fun != self._consumer.apply_eta_task:
                continue
            if hasattr(item, "kill"):  # a greenlet's
                queue.discard(item)
                item.kill()
            else:
                item.entry.cancel()

    def _entries(self) -> set[Any]:
        return {item.entry for item in list(self._consumer.timer.queue)}


def about_to_close(consumer: Any, seconds: float) -> None:
    """Set a time-out on the consumer's broken connection before its close; a newer Celery does so itself."""
    if releases.lacks("closed connections") and consumer.connection is not None:
        bound_sockets(consumer.connection, seconds)


def close(consumer: Any) -> None:
    """Close the consumer's broken connection; a newer Celery has closed it already."""
    if not releases.lacks("closed connections"):
        return
    if consumer.connection is not None:
        with suppress(Exception):  # it is broken
            consumer.connection.close()


@contextmanager
def kept(pool: Any) -> Iterator[None]:
    """Keep the running jobs of a prefork pool in its tables, while Celery clears them.

    :param pool: Celery's pool; only a prefork pool with an event loop is affected.
    """
    if not releases.lacks("pools that remember") or not hasattr(pool, "_busy_workers"):
        yield
        return
    running = {number: job for number, job in pool._cache.items() if job._accepted and not job.ready()}
    busy = set(pool._busy_workers)
    yield
    for number, job in running.items():
        pool._cache.setdefault(number, job)
        child = job._write_to or job._scheduled_for
        if child is not None and child._is_alive() and child.inqW_fd in busy:
            pool._busy_workers.add(child.inqW_fd)


class Waker:
    """Wakes an event loop that does not notice work from another thread."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def watch(self, hub: Any) -> None:
        """Register with a loop; needed again after each new connection, because the loop then drops its readers."""
        hub.add_reader(self._reader.fileno(), self._drain)

    def wake(self) -> None:
        """Wake the loop, from any thread but its own."""
        if threading.get_ident() != self._thread:
            with suppress(OSError):
                self._writer.send(b"!")

    def _drain(self) -> None:
        with suppress(OSError):
            self._reader.recv(4096)
