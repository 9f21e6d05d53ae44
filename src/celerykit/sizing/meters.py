"""What a job took of CPU and memory, seen from beside it: nothing runs in a pool child for it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

LOOK_FROM = 0.05
"""Seconds of a job from which on its process is looked at when it ends: that costs 40 microseconds, measured."""


class Memory(NamedTuple):
    """The memory of a process, in bytes."""

    resident: float
    peak: float
    """The most it ever had at once."""


class Growth:
    """By how much processes grow at their peaks, from one look to the next."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = root
        self._before: dict[int, Memory] = {}
        self._first: dict[int, float] = {}

    def look(self, pid: int) -> float | None:
        """Return by how many bytes a process exceeded what it had at the last look, if never before it had so many.

        The mark of the peak is not set back, which a process may do to another: Celery replaces children by it.
        """
        try:
            found = memory(pid, self._root)
        except OSError:  # it has ended, and nobody knows how large
            self._before.pop(pid, None)
            return None
        before = self._before.get(pid)
        self._before[pid] = found
        self._first.setdefault(pid, found.resident)
        return found.peak - before.resident if before and found.peak > before.peak else None

    def since_first(self, pid: int) -> float:
        """Return by how many bytes a process has grown since the first look at it."""
        return self._before[pid].resident - self._first[pid] if pid in self._before else 0.0

    def has_seen(self, pid: int) -> bool:
        """Say whether the next look has one to compare with."""
        return pid in self._before

    def forget_all_but(self, pids: Collection[int]) -> None:
        """Let go of processes that have ended."""
        self._before = {pid: size for pid, size in self._before.items() if pid in pids}
        self._first = {pid: size for pid, size in self._first.items() if pid in pids}


def memory(pid: int, root: Path = Path("/proc")) -> Memory:
    """Return what a process has.

    :raises OSError: if it has ended.
    """
    lines = (root / str(pid) / "status").read_text(encoding="utf-8").splitlines()
    told = dict(line.split(":", 1) for line in lines if line.startswith(("VmHWM", "VmRSS")))
    if len(told) < 2:
        raise ProcessLookupError(pid)  # it has ended, and waits for its parent
    return Memory(*(int(told[name].split()[0]) * 1024.0 for name in ("VmRSS", "VmHWM")))


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that all threads of a process have used.

    :raises OSError: if it has ended.
    """
    # What clock_getcpuclockid(3) returns, which Python does not have: the number's complement, and the clock's kind.
    return time.clock_gettime(~pid << 3 | 2)


def private(pid: int, root: Path = Path("/proc")) -> float:
    """Return the bytes that a process shares with no other.

    :raises OSError: if it has ended.
    """
    lines = (root / str(pid) / "smaps_rollup").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("Private_"))


def delay(pid: int, root: Path = Path("/proc")) -> float:
    """Return the seconds for which the threads of a process were ready to run, and waited for a CPU.

    The second number of ``schedstat``, in the kernel's sched-stats.rst; 0 where a kernel does not count it.
    """
    return sum(map(_delay, _threads(root / str(pid) / "task")))


def delay_of_thread(root: Path = Path("/proc")) -> float:
    """Return the same of the thread that asks."""
    return _delay(root / "thread-self")


def _delay(thread: Path) -> float:
    try:
        return int((thread / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):  # it has ended, or the kernel does not count it
        return 0.0


def _threads(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):  # the process has ended
        yield from (folder / name for name in os.listdir(folder))  # noqa: PTH208  # half the price of iterdir


class Meter:
    """The CPU time of single jobs, where it can be told."""

    def begin(self, _pid: int) -> Any:
        """Return what the end will be compared with; called when a process or thread has accepted a job."""

    def end(self, _began: Any) -> float | None:
        """Return the seconds of CPU that a job took, None if nobody can tell."""

    def forget(self) -> None:
        """Begin anew: jobs have run that nobody looked at."""

    def forget_all_but(self, pids: Collection[int]) -> None:
        """Let go of processes that have ended."""


class OfChildren(Meter):
    """The CPU time of jobs that pool children run, one at a time each."""

    def __init__(self) -> None:
        self._used: dict[int, float] = {}

    def begin(self, pid: int) -> int:
        """Look at a child that has accepted a job."""
        if pid not in self._used:
            with contextlib.suppress(OSError):  # it has ended again
                self._used[pid] = cpu_of(pid)
        return pid

    def end(self, pid: int) -> float | None:
        """Return what the job took: a child waits for its next one until its parent has read this one's result."""
        before = self._used.pop(pid, None)
        try:
            self._used[pid] = now = cpu_of(pid)
        except OSError:  # it has ended
            return None
        return None if before is None else now - before

    def forget(self) -> None:
        """Begin anew: children have done jobs that nobody looked at."""
        self._used = {}

    def forget_all_but(self, pids: Collection[int]) -> None:
        """Let go of children that have ended."""
        self._used = {pid: used for pid, used in self._used.items() if pid in pids}


class OfThreads(Meter):
    """The CPU time of jobs that say that they begin and end in the thread in which they run."""

    def begin(self, _pid: int) -> float:
        """Look at this thread."""
        return time.thread_time()

    def end(self, began: float) -> float:
        """Return what the job took."""
        return time.thread_time() - began
