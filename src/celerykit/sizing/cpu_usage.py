"""What processes make of the CPUs: the time that they had one, and the time that they were ready and had none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from celerykit.sizing import meters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Usage:
    """CPUs on average between two looks."""

    main: float
    """The CPUs that the first of the processes used."""
    had: float
    """The CPUs that all processes used together."""
    wanted: float
    """The CPUs that all processes used or were ready to use.

    The kernel's pressure (PSI) tells it of a control group of version 2, and else of the whole machine, where others
    make it high. This number is of these processes alone, wherever they run.
    """


class Meter:
    """Compares the kernel's counters of some processes with what they were at the last look."""

    def __init__(
        self, had: Callable[[int], float] = meters.cpu_of, waited: Callable[[int], float] = meters.delay
    ) -> None:
        """:param had: the seconds of CPU of a process, ``waited`` those without; OSError if it has ended."""
        self._had = had
        self._waited = waited
        self._at = 0.0
        self._before: dict[int, tuple[float, float]] = {}

    def read(self, pids: Sequence[int], at: float) -> Usage:
        """Return what these processes had since the last look; those that came meanwhile count from the next.

        :param at: seconds of a clock that only goes forward.
        """
        seen = {pid: times for pid in pids if (times := self._times(pid))}
        elapsed = max(at - self._at, 1e-3)
        # Threads that have ended take along what they had waited.
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
    """Return the bytes of memory that a process has; none if it has ended."""
    try:
        return meters.memory(pid).resident
    except OSError:
        return 0.0
