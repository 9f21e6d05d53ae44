"""The CPU usage of processes: their time on a CPU, and their time ready to run without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from celerykit.sizing import meters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Usage:
    """Mean numbers of CPUs between two readings."""

    main: float
    """The CPUs that the first of the processes used."""
    had: float
    """The CPUs that all processes used together."""
    wanted: float
    """The CPUs that all processes used or were ready to use.

    The kernel's pressure (PSI) exists for a control group of version 2, or for the whole machine with its other
    processes. This number is of these processes alone, everywhere.
    """


class Meter:
    """Compares the kernel's counters of some processes with those of the last reading."""

    def __init__(
        self, had: Callable[[int], float] = meters.cpu_of, waited: Callable[[int], float] = meters.delay
    ) -> None:
        """:param had: returns the CPU seconds of a process, ``waited`` those without a CPU; OSError if it has ended."""
        self._had = had
        self._waited = waited
        self._at = 0.0
        self._before: dict[int, tuple[float, float]] = {}

    def read(self, pids: Sequence[int], at: float) -> Usage:
        """Return the usage of these processes since the last reading; new processes count from the next one.

        :param at: seconds of a monotonic clock.
        """
        seen = {pid: times for pid in pids if (times := self._times(pid))}
        elapsed = max(at - self._at, 1e-3)
        # The counters of ended threads are gone, so a sum may shrink.
        spent = {
            pid: (max(0.0, had - self._before[pid][0]), max(0.0, waited - self._before[pid][1]))
            for pid, (had, waited) in seen.items()
            if pid in self._before
        }
        self._before, self._at = seen, at
        had = sum(ran for ran, _ in spent.values())
        return Usage(
            spent.get(pids[0], (0.0, 0.0))[0] / elapsed,
            had / elapsed,
            (had + sum(waited for _, waited in spent.values())) / elapsed,
        )

    def _times(self, pid: int) -> tuple[float, float] | None:
        try:
            return self._had(pid), self._waited(pid)
        except OSError:  # it has ended
            return None


def resident_of(pid: int) -> float:
    """Return the resident memory of a process in bytes, 0 if it has ended."""
    try:
        return meters.memory(pid).resident
    except OSError:
        return 0.0
