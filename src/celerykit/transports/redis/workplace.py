"""What the transport knows of the worker that it works for."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celerykit.transports.redis.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def _name() -> str:
    return f"{os.getpid()}@{socket.gethostname()}"


@dataclass(eq=False)
class Workplace:
    """A worker as its transport sees it; the default is a consumer that is none of Celery's."""

    name: str = field(default_factory=_name)
    """Whoever has it later is the same worker, started again."""
    is_alive: Callable[[], bool] = lambda: True
    """Whether the worker makes progress, and so may keep its jobs."""
    free_slots: Callable[[], int | None] = lambda: None
    """How many jobs it could start at once, if it knows."""
    running: Callable[[], Collection[str]] = lambda: ()
    """The jobs that run, by their delivery tags: they outlast a connection."""
    lease_seconds: float = 6.0
    """How long jobs are a dead worker's still. Longer than a pause of the machine that is to go by unnoticed."""
    patience: Callable[[], float] = lambda: 70.0
    """Seconds that it may be silent for while it is connected, as while a job keeps its threads from running."""

    ahead: Callable[[], str] = lambda: ""
    """The time from which on a job is one that is put off, as senders write it in UTC; nothing if none ever is."""

    tell_waiting: Callable[[int], None] = lambda _: None
    """Is told how many jobs of the worker's queues wait for their time on the server."""

    def __post_init__(self) -> None:
        self._leases: dict[Any, Lease] = {}
        self._lock = threading.Lock()

    def lease_for(self, channel: Any) -> Lease:
        """Return the one lease of this process on a channel's server and database."""
        conninfo = channel.connection.client
        where = (conninfo.as_uri(), channel.global_keyprefix, channel.unacked_key, os.getpid())
        with self._lock:
            if where not in self._leases:
                self._leases[where] = Lease.of(channel, self)
            return self._leases[where]
