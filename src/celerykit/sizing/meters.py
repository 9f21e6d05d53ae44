"""The CPU time and the memory of jobs, measured from the main process: no code runs in a child for it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

LOOK_FROM = 0.05
"""The least duration in seconds of a job whose process is measured at its end: that costs 40 us, measured."""


class Memory(NamedTuple):
    """The memory of a process, in bytes."""

    resident: float
    peak: float
    """The highest resident memory so far."""


class Growth:
    """The growth of processes at their peaks, from one reading to the next."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = root
        self._before: dict[int, Memory] = {}
        self._first: dict[int, float] = {}

    def look(self, pid: int) -> float | None:
        """Return the bytes by which a process's new peak exceeds its memory at the last reading, else None.

        The kernel's mark of the peak is not reset, because Celery replaces children by it.
        """
        try:
            current = memory(pid, self._root)
        except OSError:  # it has ended, with an unknown size
            self._before.pop(pid, None)
            return None
        before = self._before.get(pid)
        self._before[pid] = current
        self._first.setdefault(pid, current.resident)
        return current.peak - before.resident if before and current.peak > before.peak else None

    def since_first(self, pid: int) -> float:
        """Return the bytes by which a process has grown since its first reading."""
        return self._before[pid].resident - self._first[pid] if pid in self._before else 0.0

    def has_seen(self, pid: int) -> bool:
        """Say whether there is an earlier reading of a process."""
        return pid in self._before

    def forget_all_but(self, pids: Collection[int]) -> None:
        """Remove the readings of processes that are not among ``pids``."""
        self._before = {pid: size for pid, size in self._before.items() if pid in pids}
        self._first = {pid: size for pid, size in self._first.items() if pid in pids}


def memory(pid: int, root: Path = Path("/proc")) -> Memory:
    """Return the memory of a process.

    :raises OSError: if it has ended.
    """
    lines = (root / str(pid) / "status").read_text(encoding="utf-8").splitlines()
    values = dict(line.split(":", 1) for line in lines if line.startswith(("VmHWM", "VmRSS")))
    if len(values) < 2:
        raise ProcessLookupError(pid)  # it has ended, and waits for its parent
    return Memory(*(int(values[name].split()[0]) * 1024.0 for name in ("VmRSS", "VmHWM")))


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that all threads of a process have used.

    :raises OSError: if it has ended.
    """
    # The value of clock_getcpuclockid(3), missing in Python: the complement of the number, and the kind of clock.
    return time.clock_gettime(~pid << 3 | 2)


def private(pid: int, root: Path = Path("/proc")) -> float:
    """Return the private memory of a process in bytes.

    :raises OSError: if it has ended.
    """
    lines = (root / str(pid) / "smaps_rollup").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("Private_"))


def delay(pid: int, root: Path = Path("/proc")) -> float:
    """Return the seconds for which the threads of a process were ready to run without a CPU.

    The second number of ``schedstat``, see the kernel's sched-stats.rst; 0 where a kernel does not count it.
    """
    return sum(map(_delay, _threads(root / str(pid) / "task")))


def delay_of_thread(root: Path = Path("/proc")) -> float:
    """Return the seconds for which the calling thread was ready to run without a CPU."""
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
    """The CPU time of single jobs, where it is measurable."""

    def begin(self, _pid: int) -> Any:
        """Return a value for :meth:`end`; called when a process or thread has accepted a job."""

    def end(self, _began: Any) -> float | None:
        """Return the CPU seconds of a job, None if they are unknown."""

    def forget(self) -> None:
        """Drop all readings, because unmeasured jobs have run since."""

    def forget_all_but(self, pids: Collection[int]) -> None:
        """Remove the readings of processes that are not among ``pids``."""


class OfChildren(Meter):
    """The CPU time of jobs in children; a child runs one job at a time."""

    def __init__(self) -> None:
        self._used: dict[int, float] = {}

    def begin(self, pid: int) -> int:
        """Read the CPU time of a child at the start of a job."""
        if pid not in self._used:
            with contextlib.suppress(OSError):  # it has ended again
                self._used[pid] = cpu_of(pid)
        return pid

    def end(self, pid: int) -> float | None:
        """Return the CPU seconds of the job: the child waits for its next job until its parent has read this result."""
        before = self._used.pop(pid, None)
        try:
            self._used[pid] = now = cpu_of(pid)
        except OSError:  # it has ended
            return None
        return None if before is None else now - before

    def forget(self) -> None:
        """Drop all readings, because children have run unmeasured jobs since."""
        self._used = {}

    def forget_all_but(self, pids: Collection[int]) -> None:
        """Remove the readings of children that are not among ``pids``."""
        self._used = {pid: used for pid, used in self._used.items() if pid in pids}


class OfThreads(Meter):
    """The CPU time of jobs that report their start and end from their own thread."""

    def begin(self, _pid: int) -> float:
        """Read the CPU time of this thread."""
        return time.thread_time()

    def end(self, began: float) -> float:
        """Return the CPU seconds of the job."""
        return time.thread_time() - began
