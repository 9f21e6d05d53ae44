"""Who keeps at the broker what a worker is told to revoke, and reads there what is revoked."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celery.worker import state
from kombu.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from celerykit.control.revocations import Revocation, Said, Store

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

LINGER = 1.0
"""Seconds for which a connection is left open: whoever revokes many jobs one by one makes few of them."""
PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds between two attempts, of which the first and the longest."""


@dataclass(frozen=True)
class Request:
    """What the keeper is asked for: to write, or, if it is nothing, to read."""

    told: list[Revocation] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float) -> None:
        """Wait until it is done, or in vain."""
        self.done.wait(seconds)


class Keeper:
    """Writes and reads in a thread of its own, or a greenlet: a broker that does not answer holds up nothing else."""

    def __init__(self, connect: Callable[[], Any], store: Any):
        self.found: deque[Said] = deque(maxlen=state.REVOKES_MAX)
        self._connect = connect
        self._store: Store = store
        self._asked: queue.Queue[Request] = queue.Queue()
        self._waiting: list[Request] = []
        self._told: dict[Revocation, None] = {}
        self._reads = False
        self._pause: float | None = None
        self._thread: threading.Thread | None = None

    def ask(self, request: Request) -> Request:
        """Have something done; it counts as done, too, when it was tried in vain and is tried again later."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="revocations", daemon=True)
            self._thread.start()
        self._asked.put(request)
        return request

    def take_found(self) -> list[Said]:
        """Return what was read and not yet taken."""
        return [self.found.popleft() for _ in range(len(self.found))]

    def _run(self) -> None:
        while True:
            # Nothing to do for so long is the time for a look, or for another attempt.
            if not self._collect(self._pause or self._store.poll):
                self._reads = True
            try:
                self._settle()
            except Exception as exc:  # whatever it is, what is owed must be tried again
                self._fail(exc)
                self._answer()

    def _collect(self, seconds: float | None) -> bool:
        """Wait until there is something to do, and take all of it; return False if there was nothing."""
        with suppress(queue.Empty):
            self._waiting.append(self._asked.get(timeout=seconds))
            while True:
                self._waiting.append(self._asked.get_nowait())
        for request in self._waiting:
            self._told.update(dict.fromkeys(request.told))
            self._reads |= not request.told
        while len(self._told) > state.REVOKES_MAX:
            del self._told[next(iter(self._told))]
        return bool(self._waiting)

    def _settle(self) -> None:
        """Do what is owed by one connection, and what comes meanwhile."""
        with self._connect() as connection:
            # Not by way of the worker's own class of connections, whose attempts are signs of life of its main thread.
            connect: Any = Connection._ensure_connection
            connect(connection, max_retries=1, reraise_as_library_errors=False)
            while self._told or self._reads or self._collect(LINGER):
                if self._reads:  # which a worker waits for that starts
                    self._store.read(connection, self.found)
                    self._reads = False
                if self._told:
                    self._store.write(connection, list(self._told))
                    self._told.clear()
                self._succeeded()
                self._answer()

    def _answer(self) -> None:
        for request in self._waiting:
            request.done.set()
        self._waiting.clear()

    def _succeeded(self) -> None:
        if self._pause:
            self._pause = None
            logger.info("the broker keeps revocations again")

    def _fail(self, exc: Exception) -> None:
        if not self._pause:
            logger.warning(
                "what is revoked can be neither kept at the broker nor read there, and is tried again: %r. Until then "
                "a worker that starts may run what was revoked before. If it is for want of rights, give them to the "
                "user of CELERY_BROKER_URL",
                exc,
            )
        self._pause = min(LONGEST_PAUSE, (self._pause or PAUSE / 2) * 2)
