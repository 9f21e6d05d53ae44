"""What the jobs of a pool were seen to do: the file in which a worker keeps it for the next one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celerykit import instance, onestep
from celerykit.errors import ConfigurationError, Finding
from celerykit.sizing.model import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
FOLDER = instance.named("/var/lib/celery")
ENOUGH_JOBS = 100
"""A mean of so many tells apart what waits and what does not, whatever each of them does."""
ENOUGH_SECONDS = 600.0
"""Or so many seconds of work, for jobs of which there are few."""

SWIFT = 0.1
"""Seconds in the queue that nobody calls waiting."""


@dataclass(frozen=True)
class Jobs:
    """What the jobs of one task did, or those of all; times in seconds, means unless they are quantiles."""

    jobs: int
    wall: float
    cpu: float | None
    """None where no CPU time could be told apart."""
    p50: float
    p95: float
    p99: float
    growth: float | None
    """Bytes that the most demanding of them added to its process at its peak; None if none was looked at.

    Jobs that share a process count with equal parts of what it grew by.
    """
    queued_p50: float | None = None
    """Seconds in the queue; None if no job said when it was sent."""
    queued_p95: float | None = None

    def profile(self, process: float, **seen: Any) -> Profile:
        """Return what sizing asks for.

        :param process: bytes of memory that a process takes once it has imported the app.
        :param seen: what else is known, fields of :class:`~celerykit.sizing.model.Profile`.
        """
        return Profile(
            process=process,
            jobs=self.jobs,
            wall=self.wall,
            # Where it could not be told, a job counts as one that never waits: that is Celery's own guess, too.
            cpu=self.wall if self.cpu is None else self.cpu,
            long=self.p95,
            growth=self.growth,
            **seen,
        )


@dataclass(frozen=True)
class Record:
    """What was seen of a pool in one process."""

    app: str
    """``CELERY_APP``."""
    pool: str
    """The kind of pool."""
    written: str
    """When, as ISO 8601 has it, in UTC."""
    seconds: float
    """For how long."""
    concurrency: int
    """How many jobs at once there was room for."""
    used: float | None
    """How many CPUs were used while there was room for no more jobs; None if that never was so."""
    parallel: float
    """How many CPUs one process was seen to use at once, at least 1."""
    child: float | None
    """The bytes that a pool child has for itself before its first job."""
    all: Jobs
    tasks: dict[str, Jobs]

    @property
    def is_enough(self) -> bool:
        """Whether so many jobs were seen that the next ones can be expected to be alike."""
        return self.all.jobs >= ENOUGH_JOBS or self.all.jobs * self.all.wall >= ENOUGH_SECONDS

    @property
    def arrival(self) -> float | None:
        """Jobs a second; None where they queue, or none said when it was sent: it would tell of this pool's size."""
        queued = self.all.queued_p95
        return self.all.jobs / self.seconds if queued is not None and queued <= SWIFT and self.seconds else None

    def with_memory_of(self, few: Record) -> Record:
        """Return this record with the memory that some more jobs took, where that is more.

        :param few: a record that is not enough by itself: one job shows how much memory is needed, not how often.
        """
        growth = max((seen.growth for seen in (self.all, few.all) if seen.growth is not None), default=None)
        child = max((size for size in (self.child, few.child) if size is not None), default=None)
        return replace(self, child=child, all=replace(self.all, growth=growth))

    def profile(self, process: float) -> Profile:
        """Return what sizing asks for.

        :param process: bytes of memory that a process takes once it has imported the app, as it is today.
        """
        seen = {"child": self.child, "parallel": self.parallel, "seen": self.concurrency, "used": self.used}
        return self.all.profile(process, arrival=self.arrival, **seen)


def path(environ: Mapping[str, str], pool: str) -> Path:
    """Return where a pool's record is kept: in the unit's state folder, else in ``/var/lib/celery``."""
    return Path((environ.get("STATE_DIRECTORY") or FOLDER).partition(":")[0]) / f"profile-{pool}.json"


def write(target: Path, record: Record) -> None:
    """Replace the file in one step.

    :raises OSError: if the folder cannot be written.
    """
    onestep.write(target, json.dumps({"format": FORMAT, **asdict(record)}, indent=1) + "\n")


def read(source: Path, app: str) -> Record | None:
    """Return what was kept of ``app``, or None if nothing was.

    :raises ConfigurationError: if the file is of another app or another celerykit, or cannot be read.
    """
    try:
        told = json.loads(source.read_text(encoding="utf-8"))
        record = _record(told)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        raise _refused(source, f"is not readable as what jobs were seen to do: {exc!r}") from exc
    if record.app != app:
        raise _refused(source, f"is of the app {record.app}, not of {app}")
    return record


def _record(told: Any) -> Record:
    if told.pop("format") != FORMAT:
        raise ValueError("it is of another release of celerykit")
    tasks = {name: _jobs(task) for name, task in told.pop("tasks").items()}
    record = Record(**{**told, "all": _jobs(told["all"]), "tasks": tasks})
    if not (record.concurrency >= 1 and record.parallel >= 1 and record.seconds >= 0):
        raise ValueError("a number is out of its range")
    return record


def _jobs(told: Any) -> Jobs:
    jobs = Jobs(**told)
    known = (number for number in asdict(jobs).values() if number is not None)
    if not (jobs.jobs >= 1 and min(known) >= 0):
        raise ValueError("a number is out of its range")
    return jobs


def _refused(source: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        Finding("profile", source.name, f"{source.parent}", problem, "Remove it: a worker makes a new one")
    )
