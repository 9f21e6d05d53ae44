"""The size of a worker pool, with reasons: arithmetic on its limits and on measurements of its jobs."""

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
"""The part of the memory that stays free for the kernel, the page cache and other processes."""
RESERVE = 0.05
"""The part of the memory that stays free beside the peak of all jobs at once, in a worker that adapts.

Such a worker measures the memory in use before each step.
"""
UNSHARED = 0.5
"""The part of the forked memory that soon becomes private to a child: 21 to 25 of 44 to 50 MB, measured."""
UNKNOWN_JOB = 32 * MIB
"""Assumed bytes for a job of a child if no growth was measured."""
FIRST_JOB = 256 * MIB
"""Assumed bytes for a job of a child before any job was measured.

A pool that is too small grows in seconds; one that is too large is killed.
"""
UNKNOWN_SLOT = 1 * MIB
"""Assumed bytes for a job in a thread or greenlet: 50 to 100 jobs took 3 MB, measured."""
FILES_PER_JOB = 4
"""Open files of a job: a pipe's two ends or a broker's connection, a result backend's, a database's, a file."""
FILES_OF_PROCESS = 64
PREFETCHED = 0.1
"""Seconds of prefetched work for each running job, so that a slot does not wait for the broker's answer."""
MOST_PREFETCHED = 64
GREEN_PREFETCH = 4
"""The least prefetch multiplier of a green pool: below it, gevent stalls on Redis."""


def plan(limits: Limits, profile: Profile, terms: Terms) -> Plan:
    """Return the best size for these jobs within these limits.

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
    """Return the tightest bound of a running worker of the chosen kind, however long its jobs wait.

    Different jobs seldom reach their peaks at once. So a worker with free memory may grow beyond its first size, but
    only as far as all jobs at their peaks have room.

    :raises DoesNotFitError: if the memory has no room for one job.
    """
    headroom = HEADROOM if profile.growth is None else RESERVE
    bounds = [
        *_bounds(terms.chosen, 1, limits, profile, terms, headroom=headroom),
        Reason("concurrency", limits.cpus.source, parallelism.most_at_once(terms.chosen, limits.cpus)),
    ]
    return min(bounds, key=lambda bound: math.inf if bound.allows is None else bound.allows)


def slot(kind: str, profile: Profile, used: float, jobs: int) -> float:
    """Return the bytes of one more job at once: the planned ones, or the measured ones if they are more.

    :param used: the memory of a worker's processes in bytes, with shared memory counted once.
    :param jobs: the number of jobs that use it.
    """
    return max(_slot(kind, profile), (used - profile.process) / max(1, jobs))


def memory_used(profile: Profile, main: float, children: Sequence[float]) -> float:
    """Return the memory of a worker's processes in bytes, with the memory shared by the children counted once.

    :param main: the bytes of the main process.
    :param children: the bytes of each child, with the shared memory.
    """
    shared = max(0.0, profile.process - _private(profile))
    return main + sum(max(0.0, child - shared) for child in children)


def memory_of(made: Plan, profile: Profile) -> float:
    """Return the bytes of a plan's processes with all slots taken, without reserves for unknown jobs."""
    return made.replicas * (profile.process + made.concurrency * _slot(made.kind, profile, unknown=0.0))


def kind_of_pool(limits: Limits, profile: Profile, terms: Terms) -> tuple[str, str]:
    """Return the pool kind and the reason; an app that does not allow threads never gets them."""
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
    """Return the number of workers and the reason: more than one if one interpreter cannot use all CPUs."""
    if kind == PREFORK:
        return terms.replicas or 1, "its children use all CPUs"
    cpus = limits.cpus.value
    if kind == SOLO:
        needed = wanted
    elif profile.jobs:
        queue = profile.arrival is None and parallelism.is_used_up(kind, cpus, profile)
        needed = parallelism.interpreters(cpus if queue else min(cpus, wanted * profile.busy), profile)
    else:  # without measured jobs, a second one may bring nothing
        needed = 1
    why = f"{needed} use {limits.cpus.value:g} CPUs, one {profile.parallel:.3g}" if needed > 1 else "one is enough"
    if terms.replicas:
        return terms.replicas, why
    fit = max(1, int(_usable(limits) // (profile.process + _slot(kind, profile))))
    fit = min([fit, *(max(1, int(limit.value)) for limit in terms.connections)])
    return (needed, why) if needed <= fit else (fit, f"{why}; there is room for {fit}")


def _room(kind: str, replicas: int, limits: Limits, profile: Profile, headroom: float, *, first: bool) -> int:
    """Return the number of jobs at once that the memory has room for.

    :param first: whether no job was measured yet.
    :raises DoesNotFitError: if the memory has no room for one job, even without headroom.
    """
    needed = profile.process + _slot(kind, profile, unknown=0.0)
    if needed > limits.memory.value:
        raise DoesNotFitError(needed, limits.memory)
    left = _usable(limits, headroom) - replicas * profile.process
    return max(1, int(left // _slot(kind, profile, FIRST_JOB if first and kind == PREFORK else None)))


def most(kind: str, limits: Limits, profile: Profile) -> int:
    """Return the most jobs at once that the memory has room for, without reserves for unknown jobs."""
    left = _usable(limits, 0.0) - profile.process
    slot = _slot(kind, profile, unknown=0.0)
    return max(1, int(left // slot)) if slot else sys.maxsize


def _usable(limits: Limits, headroom: float = HEADROOM) -> float:
    return min(limits.memory.value, float(2**60)) * (1 - headroom)


def _slot(kind: str, profile: Profile, unknown: float | None = None) -> float:
    """Return the planned bytes of one more job at once.

    :param unknown: the reserve for a job without measurement, None for the usual one.
    """
    private = _private(profile) if kind == PREFORK else 0.0
    if profile.growth is not None:
        return max(private + profile.growth, UNKNOWN_SLOT)
    usual = UNKNOWN_JOB if kind == PREFORK else UNKNOWN_SLOT
    return private + (usual if unknown is None else unknown)


def _private(profile: Profile) -> float:
    """Return the private bytes of a child before its first job, measured or assumed."""
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
    """Return the KiB at which a child is replaced, and the reason: below the children's limit, above a usual job."""
    if kind != PREFORK:
        return None, f"the {kind} pool has no children"
    if limits.memory.value == math.inf:
        return None, "no limit of the memory is known"
    budget = (_usable(limits) - profile.process) / concurrency
    # Celery compares the whole memory of a child, but children share the parent's part.
    whole = budget + max(0.0, profile.process - _private(profile))
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
