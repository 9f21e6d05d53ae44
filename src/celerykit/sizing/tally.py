"""A worker's measurements of its jobs, by task: sums and quantiles, never a log."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from celerykit.sizing.history import Jobs
from celerykit.sizing.sketch import Sketch

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_TASKS = 200
"""The most tasks with a tally of their own: invented names must not fill the memory."""
OTHERS = "others"
ACCURACY = 0.05
"""The relative error of a quantile."""


class Seen(NamedTuple):
    """One job that has ended."""

    task: str
    wall: float
    cpu: float | None
    growth: float | None
    queued: float | None = None
    """Seconds in the queue."""


class Tally:
    """The jobs of one task."""

    def __init__(self) -> None:
        self.jobs = 0
        self._walls = Sketch(ACCURACY)
        self._queued = Sketch(ACCURACY)
        self._cpu = 0.0
        self._with_cpu = 0
        self.growth: float | None = None

    def add(self, job: Seen) -> None:
        """Count one job."""
        self.jobs += 1
        self._walls.add(job.wall)
        if job.cpu is not None:
            self._cpu += job.cpu
            self._with_cpu += 1
        if job.queued is not None:
            self._queued.add(job.queued)
        self.grown(job.growth)

    def grown(self, growth: float | None) -> None:
        """Keep the largest growth of a process, in bytes."""
        if growth is not None:
            self.growth = max(growth, self.growth or 0.0)

    def join(self, other: Tally) -> None:
        """Add the jobs of another tally."""
        self.jobs += other.jobs
        self._walls.merge(other._walls)
        self._queued.merge(other._queued)
        self._cpu += other._cpu
        self._with_cpu += other._with_cpu
        self.grown(other.growth)

    def share(self, cpu: float) -> None:
        """Spread CPU seconds of unknown jobs over all jobs."""
        self._cpu += cpu
        self._with_cpu = self.jobs

    def summary(self, delay: float = 0.0) -> Jobs:
        """Return the means and quantiles.

        :param delay: seconds for which all jobs together waited for a CPU; they are subtracted.
        """
        cpu = self._cpu / self._with_cpu if self._with_cpu else None
        queued = (self._queued.quantile(part) for part in (0.5, 0.95))  # None of nothing
        wall = max((self._walls.sum - delay) / self.jobs, cpu or 0.0)
        # The delay of a single job is unknown: each gets a part in proportion to its duration.
        undelayed = min(1.0, wall * self.jobs / self._walls.sum) if self._walls.sum else 1.0
        p50, p95, p99 = (undelayed * (self._walls.quantile(part) or 0.0) for part in (0.5, 0.95, 0.99))
        return Jobs(self.jobs, wall, cpu, p50, p95, p99, self.growth, *queued)


def by_task(jobs: Iterable[Seen], tallies: defaultdict[str, Tally]) -> None:
    """Add each job to the tally of its task."""
    for job in jobs:
        is_counted_apart = job.task in tallies or len(tallies) < MOST_TASKS
        tallies[job.task if is_counted_apart else OTHERS].add(job)


def joined(*several: defaultdict[str, Tally]) -> defaultdict[str, Tally]:
    """Return the sum of several sets of tallies."""
    result: defaultdict[str, Tally] = defaultdict(Tally)
    for tallies in several:
        for task, tally in tallies.items():
            result[task].join(tally)
    return result


def all_of(tallies: defaultdict[str, Tally]) -> Tally:
    """Return one tally of every job."""
    result = Tally()
    for tally in tallies.values():
        result.join(tally)
    return result
