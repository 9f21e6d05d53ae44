"""How many jobs at once, and how many workers, are of use: arithmetic on CPUs and on what jobs were seen to do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from celerykit.config.pool_kinds import GREEN_POOLS, PREFORK, SOLO, THREADS

if TYPE_CHECKING:
    from celerykit.sizing.limits import Limit
    from celerykit.sizing.model import Profile

UNKNOWN_WAITS = {THREADS: 10, **dict.fromkeys(GREEN_POOLS, 50)}
"""How many jobs at once where nobody knows how long they wait: so many cost jobs that do not wait next to nothing."""
MOST_PER_CPU = 32
"""Children that share a CPU: 16 each did 327 jobs/s in all, 32 each 308, measured."""
MOST_PER_PROCESS = {THREADS: 100, **dict.fromkeys(GREEN_POOLS, 500)}
"""Beyond it, switching between them costs more than another process."""
WAITS = 0.5
"""The part of its time from which on a job counts as waiting: another one can run meanwhile."""
BETWEEN = 0.001
"""Seconds for which a slot has no job between two: of 20 ms of CPU, 4 children did 84 a second on 2 CPUs, 2 did 78."""
FED = 3.4
"""Times as many slots for that as one main process keeps at work: on 2 CPUs 4 children did 3,400 no-op jobs/s, 7 did
3,840, 8 did 4,050, and 12 as many to 9 % more with 100 MB more than 8."""
SLACK = 0.02
"""The part of a CPU's time that no slot more is worth."""
HANDED_OVER = 0.0005
"""CPU seconds for handing a job to a child, and back: no-op jobs cost 0.7 to 1.2 ms with children, 0.3 to 0.4 ms in
threads, measured."""
AT_ONCE = 4
"""How many times as many jobs at once as were seen: whether a database, say, bears more of them shows with these."""
SATURATED = 0.9
"""The part of the CPUs in use from which on more jobs at once get no more done."""
SURPLUS = 2
"""How many times as many jobs as arrive on average there is room for."""


def at_once(kind: str, cpus: Limit, profile: Profile, workers: int) -> tuple[int, str]:
    """Return how many jobs at once keep the CPUs busy, in all replicas together, and why.

    :param workers: how many main processes hand them out: as many as there are, or it takes to use all CPUs.
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
    """Return how many slots share a CPU so that it has a job while one of them has none."""
    return math.ceil(1 + BETWEEN / max(profile.wall, 1e-6) - SLACK)


def _fed(profile: Profile) -> int:
    """Return how many slots one main process hands jobs to as fast as they do them, and some more."""
    return math.ceil(FED * (profile.wall + BETWEEN) / HANDED_OVER)


def _beyond(kind: str, wanted: int, cpus: float, profile: Profile, workers: int) -> tuple[int, str]:
    """Return how far to go beyond a size that was seen, and why: what waits for a CPU, or for Python, seems to wait."""
    seen, why = profile.seen, waiting(profile)
    if seen is None or wanted <= seen:
        return wanted, why
    if is_used_up(kind, cpus, profile):
        # Each worker can do what one was seen to.
        return min(wanted, seen * workers), f"{seen} at once were seen to use {profile.used:.2g} CPUs"
    if wanted > AT_ONCE * seen:
        return AT_ONCE * seen, f"{why}; {AT_ONCE} times the {seen} at once that were seen"
    return wanted, why


def is_used_up(kind: str, cpus: float, profile: Profile) -> bool:
    """Say whether all CPUs were in use, or those of one interpreter, while there was room for no more jobs."""
    usable = cpus if kind == PREFORK else profile.parallel
    return profile.used is not None and profile.used >= SATURATED * usable


def most_at_once(kind: str, cpus: Limit) -> int:
    """Return how many jobs at once are of any use, whatever they wait for."""
    return {PREFORK: MOST_PER_CPU, SOLO: 1, **MOST_PER_PROCESS}[kind] * max(1, math.ceil(cpus.value))


def interpreters(cpus: float, profile: Profile) -> int:
    """Return how many workers of threads or greenlets it takes to use so many CPUs."""
    return max(1, math.ceil(cpus / profile.parallel - (1 - SATURATED)))


def waiting(profile: Profile) -> str:
    """Return what part of their time jobs wait, for people."""
    return f"jobs wait {1 - profile.busy:.0%} of their time".replace("%", " %")
