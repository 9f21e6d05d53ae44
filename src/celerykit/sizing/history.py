"""The record of a pool's jobs: the file in which a worker keeps its measurements for the next start."""

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
"""The jobs whose mean shows reliably whether they wait or compute."""
ENOUGH_SECONDS = 600.0
"""Seconds of work that are enough instead, for rare jobs."""

SWIFT = 0.1
"""Seconds in the queue up to which a job counts as started at once."""


@dataclass(frozen=True)
class Jobs:
    """Measurements of the jobs of one task, or of all tasks; times in seconds, means unless named as quantiles."""

    jobs: int
    wall: float
    cpu: float | None
    """None where the CPU time of single jobs is unknown."""
    p50: float
    p95: float
    p99: float
    growth: float | None
    """The largest peak in bytes that one job added to its process; None if no process was measured.

    Jobs that share a process count with equal parts of its growth.
    """
    queued_p50: float | None = None
    """Seconds in the queue; None if no message held its time of sending."""
    queued_p95: float | None = None

    def profile(self, process: float, **seen: Any) -> Profile:
        """Return the profile for sizing.

        :param process: the memory of a process after the import of the app, in bytes.
        :param seen: further fields of :class:`~celerykit.sizing.model.Profile`.
        """
        return Profile(
            process=process,
            jobs=self.jobs,
            wall=self.wall,
            # Without a known CPU time, a job counts as one that never waits, as in Celery.
            cpu=self.wall if self.cpu is None else self.cpu,
            long=self.p95,
            growth=self.growth,
            **seen,
        )


@dataclass(frozen=True)
class Record:
    """The measurements of a pool in one process."""

    app: str
    """The value of ``CELERY_APP``."""
    pool: str
    """The pool kind."""
    written: str
    """The time of writing, in UTC and ISO 8601."""
    seconds: float
    """The seconds of measurement."""
    concurrency: int
    """The slots during the measurement."""
    used: float | None
    """The CPUs in use while all slots were taken; None if they never were."""
    parallel: float
    """The CPUs that one process used at once, at least 1."""
    child: float | None
    """The private memory of a child before its first job, in bytes."""
    all: Jobs
    tasks: dict[str, Jobs]

    @property
    def is_enough(self) -> bool:
        """Whether the record holds enough jobs to expect the next ones to be alike."""
        return self.all.jobs >= ENOUGH_JOBS or self.all.jobs * self.all.wall >= ENOUGH_SECONDS

    @property
    def arrival(self) -> float | None:
        """Arriving jobs a second; None where jobs queue or held no time of sending: the pool's size would bound it."""
        queued = self.all.queued_p95
        return self.all.jobs / self.seconds if queued is not None and queued <= SWIFT and self.seconds else None

    def with_memory_of(self, few: Record) -> Record:
        """Return this record with the larger memory of both records.

        :param few: a record with too few jobs: a single job shows the needed memory, but not how often.
        """
        growth = max((seen.growth for seen in (self.all, few.all) if seen.growth is not None), default=None)
        child = max((size for size in (self.child, few.child) if size is not None), default=None)
        return replace(self, child=child, all=replace(self.all, growth=growth))

    def profile(self, process: float) -> Profile:
        """Return the profile for sizing.

        :param process: the memory of a process after the import of today's app, in bytes.
        """
        seen = {"child": self.child, "parallel": self.parallel, "seen": self.concurrency, "used": self.used}
        return self.all.profile(process, arrival=self.arrival, **seen)


def path(environ: Mapping[str, str], pool: str) -> Path:
    """Return the file of a pool's record: in the unit's state folder, else in ``/var/lib/celery``."""
    return Path((environ.get("STATE_DIRECTORY") or FOLDER).partition(":")[0]) / f"profile-{pool}.json"


def write(target: Path, record: Record) -> None:
    """Replace the file in one step.

    :raises OSError: if the folder cannot be written.
    """
    onestep.write(target, json.dumps({"format": FORMAT, **asdict(record)}, indent=1) + "\n")


def read(source: Path, app: str) -> Record | None:
    """Return the record of ``app``, None if there is no file.

    :raises ConfigurationError: if the file is of another app or another celerykit, or cannot be read.
    """
    try:
        values = json.loads(source.read_text(encoding="utf-8"))
        record = _record(values)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        raise _refused(source, f"is not readable as a record of jobs: {exc!r}") from exc
    if record.app != app:
        raise _refused(source, f"is of the app {record.app}, not of {app}")
    return record


def _record(values: Any) -> Record:
    if values.pop("format") != FORMAT:
        raise ValueError("it is of another release of celerykit")
    tasks = {name: _jobs(task) for name, task in values.pop("tasks").items()}
    record = Record(**{**values, "all": _jobs(values["all"]), "tasks": tasks})
    if not (record.concurrency >= 1 and record.parallel >= 1 and record.seconds >= 0):
        raise ValueError("a number is out of its range")
    return record


def _jobs(values: Any) -> Jobs:
    jobs = Jobs(**values)
    numbers = (number for number in asdict(jobs).values() if number is not None)
    if not (jobs.jobs >= 1 and min(numbers) >= 0):
        raise ValueError("a number is out of its range")
    return jobs


def _refused(source: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        Finding("profile", source.name, f"{source.parent}", problem, "Remove it: a worker makes a new one")
    )
