"""The loop of a worker and its connection to the broker: timers, sockets, and what outlasts them."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from celerykit import releases

if TYPE_CHECKING:
    from collections.abc import Iterator


def keeps_prefetch(consumer: Any) -> bool:
    """Say whether the broker keeps the prefetch with which a consumer has begun.

    :param consumer: Celery's consumer, connected.
    """
    if not releases.lacks("known prefetch"):
        return consumer.qos_global is False
    from celery.worker.consumer.tasks import Tasks

    return not next(step for step in consumer.steps if isinstance(step, Tasks)).qos_global(consumer)


def bound_sockets(connection: Any, seconds: float) -> None:
    """Bound each read on the open sockets of a broker's connection, as far as that is possible.

    :param connection: a :class:`kombu.Connection`.
    """
    if not releases.lacks("closed connections"):
        from celery.utils.threads import bound_open_broker_sockets

        bound_open_broker_sockets(connection, seconds)
        return
    with suppress(Exception):  # whatever state it is in, it is about to be dropped
        for sock in _sockets(connection):
            sock.settimeout(seconds)


def _sockets(connection: Any) -> Iterator[Any]:
    for channel in list(getattr(connection.transport, "channels", None) or ()):
        for name in ("client", "subclient"):  # cached, or asking would connect
            client = vars(channel).get(name)
            if (sock := getattr(getattr(client, "connection", None), "_sock", None)) is not None:
                yield sock
    sock = getattr(getattr(connection._connection, "_transport", None), "sock", None)
    if sock is not None:
        yield sock


class Timers:
    """The entries of a worker's timer that are of its connection to the broker: they end with it, and no others.

    :param consumer: Celery's consumer.
    """

    def __init__(self, consumer: Any):
        self._consumer = consumer
        self._before: set[Any] = set()
        self._registered: set[Any] | None = None
        if releases.lacks("timers") and consumer.timer is not None:
            consumer.timer.clear = self._end

    def connecting(self) -> None:
        """Begin: what is entered from now on is of the connection."""
        if releases.lacks("timers"):
            self._before, self._registered = self._entries(), None

    def connected(self) -> None:
        """End: what is entered from now on is of whatever runs."""
        if releases.lacks("timers"):
            self._registered = self._entries() - self._before

    def _end(self) -> None:
        """Do what Celery's own way, to clear the timer, was for."""
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
    """Bound what is read from the consumer's broken connection while it is closed; a newer Celery does so itself."""
    if releases.lacks("closed connections") and consumer.connection is not None:
        bound_sockets(consumer.connection, seconds)


def close(consumer: Any) -> None:
    """Close the consumer's connection, which has broken; a newer Celery has done so."""
    if not releases.lacks("closed connections"):
        return
    if consumer.connection is not None:
        with suppress(Exception):  # it is broken
            consumer.connection.close()


@contextmanager
def kept(pool: Any) -> Iterator[None]:
    """Have what runs in a prefork pool known to it still, when Celery forgets what does not.

    :param pool: Celery's prefork pool, if it is one for an event loop.
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
    """Ends the wait of an event loop that does not notice what another thread puts into it."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def watch(self, hub: Any) -> None:
        """Be heard by a loop, which forgets its readers with each connection."""
        hub.add_reader(self._reader.fileno(), self._drain)

    def wake(self) -> None:
        """End the wait, from any thread but the loop's own."""
        if threading.get_ident() != self._thread:
            with suppress(OSError):
                self._writer.send(b"!")

    def _drain(self) -> None:
        with suppress(OSError):
            self._reader.recv(4096)
