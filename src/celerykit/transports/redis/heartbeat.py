"""Keeps a lease beside whatever the worker's main thread does, for as long as the worker is alive."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import redis

from celerykit.transports.redis.maxmemory import Memory
from celerykit.transports.redis.renewal import Renewal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celerykit.transports.redis.lease import Lease

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

TICK = 0.25
"""Seconds: a main thread that is busy for longer has its acknowledgements sent from here."""
BEAT = 1.0
"""Seconds between two renewals of the lease."""
LOOK = 2.0
"""Seconds between two looks for jobs that nobody has rung for: a bell may be lost with its connection."""
AUDIT = 5.0
"""Seconds between two looks for jobs whose answer never came; what both find goes back. Also for those that wait."""

WEIGH = 60.0
"""Seconds between two looks at the server's memory."""


class Keeper:
    """A thread, or a greenlet where the standard library is patched."""

    def __init__(self, lease: Lease, visibility_timeout: float):
        """:param visibility_timeout: the stock workers', in seconds."""
        self.renewal = Renewal(lease, visibility_timeout)
        self._lease = lease
        self._memory = Memory(lease.client)
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._unknown: set[str] = set()
        self._failed = False

    @property
    def runs(self) -> bool:
        """Whether it has begun and not ended."""
        return self._thread is not None and self._thread.is_alive() and not self._stopped.is_set()

    def renew(self) -> None:
        """Renew the lease at once."""
        self.renewal.beat()

    def start(self) -> None:
        """Begin, unless it runs."""
        if self.runs:
            return
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[self._stopped], name="lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and renew no more."""
        self._stopped.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(3.0)

    def _run(self, stopped: threading.Event) -> None:
        turn = self._turns()
        while not stopped.is_set():
            try:
                next(turn)
                self._succeeded()
            except Exception as exc:  # whatever it is, a worker must not go on without a lease
                self._fail(exc)
                turn = self._turns()
                stopped.wait(BEAT)
            stopped.wait(self._lease.due_jobs.seconds_to_look(TICK))
        self._lease.presence.close()

    def _turns(self) -> Iterator[None]:
        lease = self._lease
        beat_at = look_at = audit_at = weigh_at = time.monotonic()
        self._beat()
        self.renewal.takeover.take_over_former_self()
        waiting = False
        while True:
            lease.requeuer.return_unwanted()
            if waiting and lease.outbox.has_news:
                lease.flush()
            waiting = lease.outbox.has_news
            now = time.monotonic()
            if now - beat_at >= BEAT:
                beat_at = now
                self._beat()
                lease.due_jobs.look_at = 0.0  # others may have put off jobs, and be gone
            if now >= lease.due_jobs.look_at:
                lease.due_jobs.move()
            if now - look_at >= LOOK and lease.workplace.is_alive():
                look_at = now
                self._look()
            if now - audit_at >= AUDIT:
                audit_at = now
                self._audit()
                lease.workplace.tell_waiting(lease.count_waiting())
            if now - weigh_at >= WEIGH:
                weigh_at = now
                self._memory.look()
            yield

    def _beat(self) -> None:
        """Renew the lease; a worker that makes no progress gives up what tells the others that it is there, too."""
        if self._lease.workplace.is_alive():
            self.renewal.beat()
        else:
            self._lease.presence.close()

    def _look(self) -> None:
        """Wake channels that wait, where there is something to do and nobody has woken them."""
        for channel in tuple(self._lease.channels):
            if channel.has_work(self._lease.client):
                channel.ring()

    def _audit(self) -> None:
        unknown = self._lease.find_unknown()
        again = unknown & self._unknown
        self._unknown = unknown - again
        if again:
            logger.warning("%d jobs were reserved for this worker and never reached it: they go back", len(again))
            self._lease.requeuer.requeue(again)

    def _succeeded(self) -> None:
        if self._failed:
            self._failed = False
            logger.info("the lease of %s is renewed again", self._lease.owner)

    def _fail(self, exc: Exception) -> None:
        if not self._failed:
            self._failed = True
            known = isinstance(exc, (redis.RedisError, OSError))
            logger.warning("the lease of %s cannot be renewed: %r", self._lease.owner, exc, exc_info=not known)
