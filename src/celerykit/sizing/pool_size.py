"""How large a worker pool should be, and why: arithmetic on its limits and on what its jobs were seen to do."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from celerykit.config.pool_kinds import GREEN_POOLS, PREFORK, SOLO, THREADS
from celerykit.sizing import parallelism
from celerykit.sizing.model import MIB, DoesNotFitError, Plan, Profile, Reason, Terms, megabytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from celerykit.sizing.limits import Limits


HEADROOM = 0.2
"""The part of the memory that stays free: for the kernel, for files that are read, for whoever else lives there."""
RESERVE = 0.05
"""The part of the memory that stays free beside the most that all jobs at once may take, for a worker that grows.

Such a worker looks at the memory in use before each step.
"""
UNSHARED = 0.5
"""What a child soon has for itself of the memory it is forked with: 21 to 25 of 44 to 50 MB, measured."""
UNKNOWN_JOB = 32 * MIB
"""Bytes for a job of a pool child where none was measured."""
FIRST_JOB = 256 * MIB
"""Bytes for a job of a pool child before any job was seen.

A pool that is too small grows in seconds; one that is too large is killed.
"""
UNKNOWN_SLOT = 1 * MIB
"""Bytes for a job in a thread or greenlet where none was measured: 50 to 100 of them took 3 MB, measured."""
FILES_PER_JOB = 4
"""A pipe's two ends or a broker's connection, a result backend's, a database's, a file."""
FILES_OF_PROCESS = 64
PREFETCHED = 0.1
"""Seconds of work that may lie ready beside each running job: it keeps the broker's answer from being waited for."""
MOST_PREFETCHED = 64
GREEN_PREFETCH = 4
"""Below it, gevent stalls on Redis."""


def plan(limits: Limits, profile: Profile, terms: Terms) -> Plan:
    """Return the size that serves these jobs best within these limits.

    :raises DoesNotFitError: if no size is within the memory.
    """
    kind, why_kind = kind_of_pool(limits, profile, terms)
    workers = 1 if kind == PREFORK else terms.replicas or parallelism.interpreters(limits.cpus.value, profile)
    wanted, why_wanted = parallelism.at_once(kind, limits.cpus, profile, workers)
    replicas, why_replicas = _replicas(kind, wanted, limits, profile, terms)
    bounds = tuple(_bounds(kind, replicas, limits, profile, terms, first=not profile.jobs))
    concurrency = _concurrency(kind, wanted, replicas, bounds)
    recycled, why_recycled = _recycling(kind, terms.concurrency or concurrency, limits, profile)
    prefetch, why_prefetch = _prefetch(kind, profile)
    reasons = (
        Reason("kind", why_kind),
        Reason("replicas", why_replicas),
        Reason("concurrency", why_wanted),
        *bounds,
        Reason("prefetch", why_prefetch),
        Reason("max_memory_per_child", why_recycled),
    )
    return Plan(kind, replicas, concurrency, prefetch, recycled, reasons)


def ceiling(limits: Limits, profile: Profile, terms: Terms) -> Reason:
    """Return what bounds a running worker of the chosen kind the most, however long its jobs wait.

    Jobs that differ hardly ever take their most at the same time. So a worker that sees memory left may grow beyond
    what it begins with, but never so far that all jobs at their most would have no room.

    :raises DoesNotFitError: if the memory has no room for one job.
    """
    headroom = HEADROOM if profile.growth is None else RESERVE
    bounds = [
        *_bounds(terms.chosen, 1, limits, profile, terms, headroom=headroom),
        Reason("concurrency", limits.cpus.source, parallelism.most_at_once(terms.chosen, limits.cpus)),
    ]
    return min(bounds, key=lambda bound: math.inf if bound.allows is None else bound.allows)


def slot(kind: str, profile: Profile, used: float, jobs: int) -> float:
    """Return what one job more at once takes: as it is planned, or as those at hand were seen to, if that is more.

    :param used: the memory that a worker's processes have, what children share counted once.
    :param jobs: among how many it is divided.
    """
    return max(_slot(kind, profile), (used - profile.process) / max(1, jobs))


def memory_used(profile: Profile, main: float, children: Sequence[float]) -> float:
    """Return the memory that a worker's processes have, what the children share with the main process counted once.

    :param main: what the main process has, and each of the children, the shared part included.
    """
    shared = max(0.0, profile.process - _own(profile))
    return main + sum(max(0.0, child - shared) for child in children)


def memory_of(made: Plan, profile: Profile) -> float:
    """Return the bytes that a plan's processes are known to take with as many jobs as each may run."""
    return made.replicas * (profile.process + made.concurrency * _slot(made.kind, profile, unknown=0.0))


def kind_of_pool(limits: Limits, profile: Profile, terms: Terms) -> tuple[str, str]:
    """Return the kind of pool, and why; an app that did not say that it is safe for threads never gets them."""
    if terms.chosen:
        return terms.chosen, "chosen by the operator"
    usual = PREFORK if PREFORK in terms.kinds else terms.kinds[0]
    if not profile.jobs:
        return usual, "nothing is known of the jobs"
    apart = next((kind for kind in terms.kinds if kind not in {PREFORK, SOLO}), usual)
    if 1 - profile.busy >= parallelism.WAITS:
        return apart, parallelism.waiting(profile)
    if apart != usual and profile.wall <= 10 * parallelism.HANDED_OVER:
        more = f"handing them to a child {parallelism.HANDED_OVER * 1000:g} ms more"
        return apart, f"jobs take {profile.wall * 1000:.2g} ms, {more}"
    if apart == THREADS and 1 < parallelism.SATURATED * math.ceil(limits.cpus.value) <= profile.parallel:
        return apart, f"threads of one process use {profile.parallel:.1f} CPUs at once"
    return usual, parallelism.waiting(profile)


def _replicas(kind: str, wanted: int, limits: Limits, profile: Profile, terms: Terms) -> tuple[int, str]:
    """Return how many workers it takes, where one interpreter cannot use all CPUs."""
    if kind == PREFORK:
        return terms.replicas or 1, "its children use all CPUs"
    cpus = limits.cpus.value
    if kind == SOLO:
        needed = wanted
    elif profile.jobs:
        queue = profile.arrival is None and parallelism.is_used_up(kind, cpus, profile)
        needed = parallelism.interpreters(cpus if queue else min(cpus, wanted * profile.busy), profile)
    else:  # nobody knows whether a second one would pay
        needed = 1
    why = f"{needed} use {limits.cpus.value:g} CPUs, one {profile.parallel:.3g}" if needed > 1 else "one is enough"
    if terms.replicas:
        return terms.replicas, why
    fit = max(1, int(_usable(limits) // (profile.process + _slot(kind, profile))))
    fit = min([fit, *(max(1, int(limit.value)) for limit in terms.connections)])
    return (needed, why) if needed <= fit else (fit, f"{why}; there is room for {fit}")


def _room(kind: str, replicas: int, limits: Limits, profile: Profile, headroom: float, *, first: bool) -> int:
    """Return how many jobs at once the memory has room for.

    :param first: whether they are the first of which anything will be known.
    :raises DoesNotFitError: if it is none, whatever is left of the headroom.
    """
    needed = profile.process + _slot(kind, profile, unknown=0.0)
    if needed > limits.memory.value:
        raise DoesNotFitError(needed, limits.memory)
    left = _usable(limits, headroom) - replicas * profile.process
    return max(1, int(left // _slot(kind, profile, FIRST_JOB if first and kind == PREFORK else None)))


def most(kind: str, limits: Limits, profile: Profile) -> int:
    """Return how many jobs at once the memory has room for at all, with nothing put aside for what is not known."""
    left = _usable(limits, 0.0) - profile.process
    slot = _slot(kind, profile, unknown=0.0)
    return max(1, int(left // slot)) if slot else sys.maxsize


def _usable(limits: Limits, headroom: float = HEADROOM) -> float:
    return min(limits.memory.value, float(2**60)) * (1 - headroom)


def _slot(kind: str, profile: Profile, unknown: float | None = None) -> float:
    """Return what one more job at once takes.

    :param unknown: what is put aside for a job that was not measured, if not the usual.
    """
    own = _own(profile) if kind == PREFORK else 0.0
    if profile.growth is not None:
        return max(own + profile.growth, UNKNOWN_SLOT)
    usual = UNKNOWN_JOB if kind == PREFORK else UNKNOWN_SLOT
    return own + (usual if unknown is None else unknown)


def _own(profile: Profile) -> float:
    """Return what a child has for itself before its first job."""
    return UNSHARED * profile.process if profile.child is None else profile.child


def _bounds(
    kind: str,
    replicas: int,
    limits: Limits,
    profile: Profile,
    terms: Terms,
    *,
    first: bool = False,
    headroom: float = HEADROOM,
) -> Iterator[Reason]:
    memory = f"memory ({megabytes(limits.memory.value)}, {limits.memory.source})"
    yield Reason("concurrency", memory, _room(kind, replicas, limits, profile, headroom, first=first))
    if limits.files.value < math.inf:
        allowed = replicas * max(1, int(limits.files.value - FILES_OF_PROCESS) // FILES_PER_JOB)
        yield Reason("concurrency", f"{limits.files.source} {limits.files.value:g}", allowed)
    for limit in terms.connections:
        yield Reason("concurrency", limit.source, int(limit.value))


def _concurrency(kind: str, wanted: int, replicas: int, bounds: Iterable[Reason]) -> int:
    most = min(bound.allows for bound in bounds if bound.allows is not None)
    return 1 if kind == SOLO else max(1, min(math.ceil(wanted / replicas), most // replicas))


def _recycling(kind: str, concurrency: int, limits: Limits, profile: Profile) -> tuple[int | None, str]:
    """Return the KiB at which a child is replaced: before all together reach the limit, and after no usual job."""
    if kind != PREFORK:
        return None, f"the {kind} pool has no children"
    if limits.memory.value == math.inf:
        return None, "no limit of the memory is known"
    budget = (_usable(limits) - profile.process) / concurrency
    # Celery looks at the whole of a child, of which the parent's part is there once for all.
    whole = budget + max(0.0, profile.process - _own(profile))
    usual = profile.process + (UNKNOWN_JOB if profile.growth is None else profile.growth)
    if whole < usual:
        return None, f"a child with a usual job has {megabytes(usual)}, and would be replaced after each"
    return int(whole / 1024), f"{megabytes(budget)} of its own, beside what it shares"


def _prefetch(kind: str, profile: Profile) -> tuple[int, str]:
    floor = GREEN_PREFETCH if kind in GREEN_POOLS else 1
    if not profile.jobs:
        return floor, "green pools stall below it" if floor > 1 else "a job that waits is another worker's to take"
    wanted = max(floor, int(PREFETCHED / max(profile.long, PREFETCHED / MOST_PREFETCHED)))
    return wanted, f"95 of 100 jobs take up to {profile.long:.3g} s"
