"""The small file in which a process says how it is; ``celerykit probe`` reads it without importing Celery.

A health check runs every few seconds for ever, so this module and :mod:`celerykit.health.probe` import next to nothing.
"""

from __future__ import annotations

import json
import os
import time

from celerykit import onestep

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass


class State:
    """What a process says of itself."""

    __slots__ = ("advised", "alive_until", "concurrency", "pid", "ready", "reason", "started", "waiting", "why")

    def __init__(
        self,
        pid: int,
        alive_until: float,
        ready: bool,
        reason: str,
        concurrency: int = 0,
        why: str = "",
        advised: bool = False,
        started: bool = False,
        waiting: int = 0,
    ):
        """Hold the facts.

        :param alive_until: until when it counts as alive without further progress, on the clock of
            :func:`time.monotonic`, in seconds.
        :param reason: why it is ready or not, for people.
        :param concurrency: how many jobs it runs at once, if it is a worker.
        :param why: why that is so, if it has changed while it runs.
        :param advised: whether its jobs were lately seen to need what only another start of it brings.
        :param started: whether it has ever been ready.
        :param waiting: how many jobs of its queues wait for their time on the broker, if it knows.
        """
        self.pid = pid
        self.alive_until = alive_until
        self.ready = ready
        self.reason = reason
        self.concurrency = concurrency
        self.why = why
        self.advised = advised
        self.started = started
        self.waiting = waiting


def path(folder: str, process: str, pool: str) -> str:
    """Return where the state of a process is kept: ``worker-<pool>.json``, ``beat.json``."""
    return f"{folder}/worker-{pool}.json" if process == "worker" else f"{folder}/{process}.json"


def write(target: str, state: State) -> None:
    """Replace the file in one step, so that no reader sees half of it.

    :raises OSError: if the folder cannot be written.
    """
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    onestep.write(target, json.dumps({name: getattr(state, name) for name in State.__slots__}))


def read(target: str) -> State | None:
    """Return the state, or None where there is no (whole) file."""
    try:
        with open(target, encoding="utf-8") as file:
            return State(**json.load(file))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def judge(state: State | None, question: str) -> tuple[bool, str]:
    """Answer ``live``, ``ready``, or ``started``, which is live and ready at least once, with a reason."""
    if state is None:
        return False, "no state file: not started yet, or ended"
    if not runs(state.pid):
        return False, f"process {state.pid} has ended"
    overdue = time.monotonic() - state.alive_until
    if overdue > 0:
        return False, f"process {state.pid} is stuck: its last sign of life expired {overdue:.0f} s ago"
    if question == "ready":
        return state.ready, state.reason
    if question == "started":
        return state.started, state.reason
    return True, state.reason


def runs(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
