"""What the transport knows of the worker that it works for."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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

    leases: dict[Any, Any] = field(default_factory=dict)
    """Those that :mod:`celerykit.transports.redis.leases` has made for it, by server and database."""
    lock: Any = field(default_factory=threading.Lock)
    """Held while one is made."""
