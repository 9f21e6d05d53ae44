"""The state file of a process; ``celerykit probe`` reads it without importing Celery.

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
    """The state of a process, as it reports it."""

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
        """Keep the values.

        :param alive_until: the time up to which the process counts as live without further progress, in seconds of
            :func:`time.monotonic`.
        :param reason: the reason why it is ready or not, in words.
        :param concurrency: the number of slots of a worker.
        :param why: the reason for the concurrency, if it has changed since the start.
        :param advised: whether its recent jobs need a size that only a restart brings.
        :param started: whether it has ever been ready.
        :param waiting: the number of jobs of its queues that wait on the broker for their ETA, countdown or retry.
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
    """Return the path of a process's state file: ``worker-<pool>.json``, ``beat.json``."""
    return f"{folder}/worker-{pool}.json" if process == "worker" else f"{folder}/{process}.json"


def write(target: str, state: State) -> None:
    """Replace the file in one step, so that no reader sees half of it.

    :raises OSError: if the folder cannot be written.
    """
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    onestep.write(target, json.dumps({name: getattr(state, name) for name in State.__slots__}))


def read(target: str) -> State | None:
    """Return the state, None if there is no complete file."""
    try:
        with open(target, encoding="utf-8") as file:
            return State(**json.load(file))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def judge(state: State | None, question: str) -> tuple[bool, str]:
    """Answer ``live``, ``ready`` or ``started`` (live, and ready at least once), with the reason."""
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
    """Say whether a process with this number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
