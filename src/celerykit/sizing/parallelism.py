"""The useful number of jobs at once and of workers: arithmetic on CPUs and on measurements of jobs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from celerykit.config.pool_kinds import GREEN_POOLS, PREFORK, SOLO, THREADS

if TYPE_CHECKING:
    from celerykit.sizing.limits import Limit
    from celerykit.sizing.model import Profile

UNKNOWN_WAITS = {THREADS: 10, **dict.fromkeys(GREEN_POOLS, 50)}
"""Jobs at once if their waiting time is unknown: so many cost jobs that do not wait next to nothing."""
MOST_PER_CPU = 32
"""The most children for each CPU: 16 each did 327 jobs/s in all, 32 each 308, measured."""
MOST_PER_PROCESS = {THREADS: 100, **dict.fromkeys(GREEN_POOLS, 500)}
"""The most slots of one process: beyond it, switching between them costs more than another process."""
WAITS = 0.5
"""The waiting part of a job's duration from which on another job should run meanwhile."""
BETWEEN = 0.001
"""Seconds without a job between two jobs of a slot: of 20 ms of CPU, 4 children did 84 a second on 2 CPUs, 2 did 78."""
FED = 3.4
"""The factor on the slots that one main process can supply with jobs: on 2 CPUs 4 children did 3,400 no-op jobs/s, 7
did 3,840, 8 did 4,050, and 12 as many to 9 % more with 100 MB more than 8."""
SLACK = 0.02
"""The part of a CPU's time below which one more slot is not worth its memory."""
HANDED_OVER = 0.0005
"""CPU seconds for passing a job to a child, and back: no-op jobs cost 0.7 to 1.2 ms with children, 0.3 to 0.4 ms in
threads, measured."""
AT_ONCE = 4
"""The most growth over the measured jobs at once: it shows whether a database, for example, bears more of them."""
SATURATED = 0.9
"""The part of the CPUs in use from which on more jobs at once raise the throughput no further."""
SURPLUS = 2
"""The room for jobs at once, as a multiple of the jobs under way at the mean arrival rate."""


def at_once(kind: str, cpus: Limit, profile: Profile, workers: int) -> tuple[int, str]:
    """Return the number of jobs at once that keep the CPUs busy, in all replicas together, and the reason.

    :param workers: the number of main processes that distribute them.
    """
    whole = max(1, math.ceil(cpus.value))
    of_cpus = f"{cpus.value:g} {'CPU' if cpus.value == 1 else 'CPUs'} ({cpus.source})"
    if kind == SOLO:
        return whole if profile.jobs else 1, of_cpus if profile.jobs else "the solo pool runs one job"
    if not profile.jobs:
        unknown = UNKNOWN_WAITS.get(kind)
        return (unknown, "nothing is known of the jobs") if unknown else (whole, of_cpus)
    # By Little's law, jobs that need a CPU for a tenth of their time use up one when ten are under way.
    wanted, why = _beyond(kind, round(cpus.value / profile.busy), cpus.value, profile, workers)
    least = max(whole, min(whole * _short(profile), _fed(profile) * workers))
    if wanted < least:
        wanted, why = least, f"jobs take {profile.wall * 1000:.2g} ms" if least > whole else why
    wanted = min(wanted, most_at_once(kind, cpus))
    if profile.arrival is not None:
        under_way = max(whole, math.ceil(SURPLUS * profile.arrival * profile.wall))
        if under_way < wanted:
            return under_way, f"{profile.arrival:.3g} jobs/s of {profile.wall:.3g} s"
    return wanted, why


def _short(profile: Profile) -> int:
    """Return the slots for each CPU that keep it busy while one slot waits for its next job."""
    return math.ceil(1 + BETWEEN / max(profile.wall, 1e-6) - SLACK)


def _fed(profile: Profile) -> int:
    """Return the number of slots that one main process can supply with jobs, times :data:`FED`."""
    return math.ceil(FED * (profile.wall + BETWEEN) / HANDED_OVER)


def _beyond(kind: str, wanted: int, cpus: float, profile: Profile, workers: int) -> tuple[int, str]:
    """Return the jobs at once beyond the measured size, and the reason: a wait for a CPU looks like any other wait."""
    seen, why = profile.seen, waiting(profile)
    if seen is None or wanted <= seen:
        return wanted, why
    if is_used_up(kind, cpus, profile):
        # Each worker can reach the measured size.
        return min(wanted, seen * workers), f"{seen} at once were seen to use {profile.used:.2g} CPUs"
    if wanted > AT_ONCE * seen:
        return AT_ONCE * seen, f"{why}; {AT_ONCE} times the {seen} at once that were seen"
    return wanted, why


def is_used_up(kind: str, cpus: float, profile: Profile) -> bool:
    """Say whether all CPUs, or those of one interpreter, were in use while all slots were taken."""
    usable = cpus if kind == PREFORK else profile.parallel
    return profile.used is not None and profile.used >= SATURATED * usable


def most_at_once(kind: str, cpus: Limit) -> int:
    """Return the largest useful number of jobs at once, however long they wait."""
    return {PREFORK: MOST_PER_CPU, SOLO: 1, **MOST_PER_PROCESS}[kind] * max(1, math.ceil(cpus.value))


def interpreters(cpus: float, profile: Profile) -> int:
    """Return the number of workers with threads or greenlets that use so many CPUs."""
    return max(1, math.ceil(cpus / profile.parallel - (1 - SATURATED)))


def waiting(profile: Profile) -> str:
    """Return the waiting part of the jobs' durations, in words."""
    return f"jobs wait {1 - profile.busy:.0%} of their time".replace("%", " %")
