"""The words of sizing: what is known of a pool's jobs, what is asked for, and the plan that follows."""

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
    """What the jobs of a pool were seen to do, and what its processes take before the first; sizes in bytes."""

    process: float
    """The memory of a process that has imported the app."""
    child: float | None = None
    """What a forked child has for itself before its first job."""
    jobs: int = 0
    """How many were seen; without any, the following says nothing."""
    wall: float = 0.0
    """Seconds that a job takes, on average."""
    cpu: float = 0.0
    """Seconds of CPU among them."""
    long: float = 0.0
    """Seconds that 95 of 100 jobs do not exceed."""
    growth: float | None = None
    """What a job adds to the memory of its process at its peak, the largest of nearly all."""
    parallel: float = 1.0
    """How many CPUs the threads of one process were seen to use at once: 1 where only one may run Python's code."""
    arrival: float | None = None
    """Jobs a second; only where they do not queue, or it would tell of this pool's size instead."""
    seen: int | None = None
    """How many jobs at once there was room for meanwhile."""
    used: float | None = None
    """How many CPUs were used while all that room was taken; None if it never was."""

    @property
    def busy(self) -> float:
        """The part of its time for which a job needs a CPU."""
        return min(1.0, max(self.cpu, 1e-6) / self.wall) if self.jobs and self.wall > 0 else 1.0


@dataclass(frozen=True)
class Terms:
    """What the operator and the app ask for or allow."""

    kinds: tuple[str, ...] = (PREFORK,)
    """The kinds of pool that may be chosen, the dearest first."""
    chosen: str = ""
    """The kind that was chosen already."""
    replicas: int | None = None
    """How many workers there are, where that is settled."""
    concurrency: int | None = None
    """How many jobs at once, where somebody insists: the children's memory follows from that instead."""
    connections: tuple[Limit, ...] = ()
    """How many jobs at once a broker, a result backend or a database has connections for."""


@dataclass(frozen=True)
class Reason:
    """Why a value of a plan is what it is."""

    of: str
    """The value's name in :class:`Plan`."""
    text: str
    allows: int | None = None
    """If it is a bound, how many jobs at once it leaves room for, in all replicas together."""

    def __str__(self) -> str:
        return self.text if self.allows is None else f"{self.text} allows {self.allows}"


@dataclass(frozen=True)
class Plan:
    """The size of a pool, as options of Celery."""

    kind: str
    replicas: int
    """How many workers, each of this size."""
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
    """Not even one job at a time has room; says how much memory is needed, and how much there is."""

    def __init__(self, needed: float, there: Limit):
        super().__init__(f"{megabytes(needed)} are needed, {megabytes(there.value)} are there ({there.source})")
        self.needed = needed
        self.there = there


def megabytes(size: float) -> str:
    """Return a size for people."""
    return f"{size / MIB:.0f} MB"


OPTIONS = {
    "concurrency": "concurrency",
    "prefetch": "prefetch_multiplier",
    "max_memory_per_child": "max_memory_per_child",
}
"""The values of a plan that are options of ``celery worker``, as those are called."""


@dataclass(frozen=True)
class Value:
    """One value of a plan, and what is in force instead."""

    name: str
    """As in :class:`~celerykit.sizing.model.Plan`."""
    tuned: int | None
    given: Any = None
    source: str = ""
    """Who has set it, nobody if it is empty."""
    fills: bool = True
    """Whether the tuned value is in force."""

    @property
    def setting(self) -> str:
        """The setting of Celery."""
        return f"worker_{OPTIONS[self.name]}"


@dataclass(frozen=True)
class Tuning:
    """What a worker was given, and why."""

    plan: Plan
    values: tuple[Value, ...]
    forced: bool
    limits: Limits
    """What the plan follows from, this and the next two."""
    profile: Profile
    terms: Terms
    seen: str = ""
    """What it rests on beside the machine."""

    def settings(self) -> dict[str, int]:
        """Return the settings of Celery to fill in."""
        return {value.setting: value.tuned for value in self.values if value.fills and value.tuned is not None}

    def options(self) -> list[str]:
        """Return the same as options, which an app's own settings do not replace; none if nothing is forced."""
        if not self.forced:
            return []
        flags = {
            f"--{name.removeprefix('worker_').replace('_', '-')}": value for name, value in self.settings().items()
        }
        return [f"{flag}={value}" for flag, value in flags.items()]

    def explain(self) -> Iterator[str]:
        """Yield what it rests on, then each value in force and what it would be otherwise, a line each."""
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
        """Return the reasons of a value that is in force, nothing of one that is not."""
        return self.plan.why(name) if self.fills(name) else ""
