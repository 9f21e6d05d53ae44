"""The tasks of one queue that should have queues of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from celerykit.sizing import parallelism
from celerykit.sizing.history import Jobs

if TYPE_CHECKING:
    from collections.abc import Mapping

LONG = 60.0
"""Seconds from which on a job counts as long for the jobs behind it."""
TIMES = 60
"""The factor by which long jobs exceed the others."""
FEW = 0.02
"""The part of the jobs, or of their time, below which a kind needs no queue of its own."""


@dataclass(frozen=True)
class Part:
    """Tasks of one kind."""

    kind: str
    """``long``, ``cpu`` or ``wait``."""
    tasks: tuple[str, ...]
    jobs: Jobs

    @property
    def seconds(self) -> float:
        """The total duration of their jobs in seconds."""
        return self.jobs.jobs * self.jobs.wall


def parts(tasks: Mapping[str, Jobs]) -> list[Part]:
    """Return the parts that should have separate queues, the most frequent first; one part if all tasks are alike."""
    kinds: dict[str, list[str]] = {}
    brief = min((jobs.p50 for jobs in tasks.values()), default=0.0)
    for name, jobs in sorted(tasks.items()):
        kinds.setdefault(_kind(jobs, brief), []).append(name)
    split = [Part(kind, tuple(names), together([tasks[name] for name in names])) for kind, names in kinds.items()]
    number, seconds = sum(part.jobs.jobs for part in split), sum(part.seconds for part in split)
    many = [part for part in split if max(part.jobs.jobs / number, part.seconds / (seconds or 1.0)) >= FEW]
    return sorted(many, key=lambda part: -part.jobs.jobs)


def together(several: list[Jobs]) -> Jobs:
    """Return the means of several tasks' jobs together; quantiles cannot be added, so the largest one of each."""
    number = sum(jobs.jobs for jobs in several)
    measured = [jobs for jobs in several if jobs.cpu is not None]
    counted = sum(jobs.jobs for jobs in measured)
    return Jobs(
        jobs=number,
        wall=sum(jobs.jobs * jobs.wall for jobs in several) / number,
        cpu=sum(jobs.jobs * (jobs.cpu or 0.0) for jobs in measured) / counted if counted else None,
        p50=max(jobs.p50 for jobs in several),
        p95=max(jobs.p95 for jobs in several),
        p99=max(jobs.p99 for jobs in several),
        growth=max((jobs.growth for jobs in several if jobs.growth is not None), default=None),
    )


def _kind(jobs: Jobs, brief: float) -> str:
    if jobs.p50 >= LONG and jobs.p50 >= TIMES * brief:
        return "long"
    busy = 1.0 if jobs.cpu is None or not jobs.wall else jobs.cpu / jobs.wall
    return "wait" if 1 - busy >= parallelism.WAITS else "cpu"
