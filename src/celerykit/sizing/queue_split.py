"""Which tasks of one queue had better have queues of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from celerykit.sizing import parallelism
from celerykit.sizing.history import Jobs

if TYPE_CHECKING:
    from collections.abc import Mapping

LONG = 60.0
"""Seconds of a job that nobody likes to wait behind."""
TIMES = 60
"""How many times as long as the others the long ones are."""
FEW = 0.02
"""The part of the jobs, or of their time, below which a kind of them is no matter."""


@dataclass(frozen=True)
class Part:
    """Tasks of one kind."""

    kind: str
    """``long``, ``cpu`` or ``wait``."""
    tasks: tuple[str, ...]
    jobs: Jobs

    @property
    def seconds(self) -> float:
        """How long all of their jobs took."""
        return self.jobs.jobs * self.jobs.wall


def parts(tasks: Mapping[str, Jobs]) -> list[Part]:
    """Return the kinds of tasks that are better kept apart, the commonest first; one alone if all are alike."""
    kinds: dict[str, list[str]] = {}
    brief = min((jobs.p50 for jobs in tasks.values()), default=0.0)
    for name, jobs in sorted(tasks.items()):
        kinds.setdefault(_kind(jobs, brief), []).append(name)
    found = [Part(kind, tuple(names), together([tasks[name] for name in names])) for kind, names in kinds.items()]
    number, seconds = sum(part.jobs.jobs for part in found), sum(part.seconds for part in found)
    many = [part for part in found if max(part.jobs.jobs / number, part.seconds / (seconds or 1.0)) >= FEW]
    return sorted(many, key=lambda part: -part.jobs.jobs)


def together(several: list[Jobs]) -> Jobs:
    """Return what the jobs of several tasks do; of the quantiles, which cannot be added, the largest."""
    number = sum(jobs.jobs for jobs in several)
    known = [jobs for jobs in several if jobs.cpu is not None]
    counted = sum(jobs.jobs for jobs in known)
    return Jobs(
        jobs=number,
        wall=sum(jobs.jobs * jobs.wall for jobs in several) / number,
        cpu=sum(jobs.jobs * (jobs.cpu or 0.0) for jobs in known) / counted if counted else None,
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
