"""The types of sizing: the profile of a pool's jobs, the terms of operator and app, and the resulting plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celerykit.config.pool_kinds import PREFORK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celerykit.sizing.limits import Limit, Limits

MIB = 2**20


@dataclass(frozen=True)
class Profile:
    """Measurements of a pool's jobs, and of its processes before the first job; sizes in bytes."""

    process: float
    """The memory of a process after the import of the app."""
    child: float | None = None
    """The private memory of a forked child before its first job."""
    jobs: int = 0
    """The number of measured jobs; without any, the following fields have no meaning."""
    wall: float = 0.0
    """The mean duration of a job in seconds."""
    cpu: float = 0.0
    """The mean CPU time of a job in seconds."""
    long: float = 0.0
    """The 95 % quantile of the duration in seconds."""
    growth: float | None = None
    """The peak memory that a job adds to its process, the largest of nearly all jobs."""
    parallel: float = 1.0
    """The CPUs that threads of one process used at once: 1 where one thread at a time runs Python's code."""
    arrival: float | None = None
    """Arriving jobs a second; None where jobs queue, because the rate would then depend on this pool's size."""
    seen: int | None = None
    """The slots during the measurement."""
    used: float | None = None
    """The CPUs in use while all slots were taken; None if they never were."""

    @property
    def busy(self) -> float:
        """The CPU time of a job as a part of its duration."""
        return min(1.0, max(self.cpu, 1e-6) / self.wall) if self.jobs and self.wall > 0 else 1.0


@dataclass(frozen=True)
class Terms:
    """The requirements of the operator and the app."""

    kinds: tuple[str, ...] = (PREFORK,)
    """The allowed pool kinds, the preferred one first."""
    chosen: str = ""
    """The kind that the operator has chosen, an empty string for none."""
    replicas: int | None = None
    """The number of workers, None if sizing may choose it."""
    concurrency: int | None = None
    """The fixed number of jobs at once, None if sizing may choose it; the memory of a child follows from it."""
    connections: tuple[Limit, ...] = ()
    """The jobs at once that connections to a broker, a result backend or a database allow."""


@dataclass(frozen=True)
class Reason:
    """The reason for a value of a plan."""

    of: str
    """The value's name in :class:`Plan`."""
    text: str
    allows: int | None = None
    """For a bound, the jobs at once that it allows in all replicas together."""

    def __str__(self) -> str:
        return self.text if self.allows is None else f"{self.text} allows {self.allows}"


@dataclass(frozen=True)
class Plan:
    """The size of a pool, as options of Celery."""

    kind: str
    replicas: int
    """The number of workers, each of this size."""
    concurrency: int
    prefetch: int
    max_memory_per_child: int | None
    """In KiB, as Celery takes it."""
    reasons: tuple[Reason, ...] = field(default=())

    def __str__(self) -> str:
        several = f", replica 1 of {self.replicas}" if self.replicas > 1 else ""
        return f"concurrency {self.concurrency} ({self.kind}){several}: {self.why('concurrency')}"

    def why(self, name: str) -> str:
        """Return the reasons of one value."""
        return "; ".join(str(reason) for reason in self.reasons if reason.of == name)


class DoesNotFitError(Exception):
    """The memory has no room for a single job; holds the needed bytes and the limit."""

    def __init__(self, needed: float, there: Limit):
        super().__init__(f"{megabytes(needed)} are needed, {megabytes(there.value)} are there ({there.source})")
        self.needed = needed
        self.there = there


def megabytes(size: float) -> str:
    """Return a size as text, such as ``512 MB``."""
    return f"{size / MIB:.0f} MB"


OPTIONS = {
    "concurrency": "concurrency",
    "prefetch": "prefetch_multiplier",
    "max_memory_per_child": "max_memory_per_child",
}
"""The values of a plan that are options of ``celery worker``, each with the option's name."""


@dataclass(frozen=True)
class Value:
    """One value of a plan, and the configured value, if any."""

    name: str
    """As in :class:`~celerykit.sizing.model.Plan`."""
    tuned: int | None
    given: Any = None
    source: str = ""
    """The source of the configured value, an empty string if there is none."""
    fills: bool = True
    """Whether the tuned value is in force."""

    @property
    def setting(self) -> str:
        """The name of Celery's setting, such as ``worker_concurrency``."""
        return f"worker_{OPTIONS[self.name]}"


@dataclass(frozen=True)
class Tuning:
    """The values that a worker was given, with the plan behind them."""

    plan: Plan
    values: tuple[Value, ...]
    forced: bool
    limits: Limits
    """The limits of the machine; with the next two fields, the input of the plan."""
    profile: Profile
    terms: Terms
    seen: str = ""
    """A description of the record of jobs, an empty string without one."""

    def settings(self) -> dict[str, int]:
        """Return the settings of Celery to fill in."""
        return {value.setting: value.tuned for value in self.values if value.fills and value.tuned is not None}

    def options(self) -> list[str]:
        """Return the values as options that override an app's own settings; none if nothing is forced."""
        if not self.forced:
            return []
        flags = {
            f"--{name.removeprefix('worker_').replace('_', '-')}": value for name, value in self.settings().items()
        }
        return [f"{flag}={value}" for flag, value in flags.items()]

    def explain(self) -> Iterator[str]:
        """Yield the record, then each value in force with its alternative, a line each."""
        if self.seen:
            yield f"# {self.seen}"
        for value in self.values:
            tuned, why = value.tuned, self.plan.why(value.name)
            if not value.source:
                yield f"{value.setting}={tuned}  # tuned: {why}"
            elif value.fills:
                yield f"{value.setting}={tuned}  # tuned, instead of {value.given} ({value.source}): {why}"
            else:
                yield f"{value.setting}={value.given}  # {value.source}; tuned, it would be {tuned}: {why}"

    def fills(self, name: str) -> bool:
        """Say whether a value of the plan is in force."""
        return any(value.name == name and value.fills for value in self.values)

    def why(self, name: str) -> str:
        """Return the reasons of a tuned value in force, an empty string for any other."""
        return self.plan.why(name) if self.fills(name) else ""
