"""The size of a pool, from its limits and its jobs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from celerykit.sizing import pool_size
from celerykit.sizing.limits import Limit, Limits
from celerykit.sizing.model import DoesNotFitError, Plan, Profile, Terms

MIB = 2**20
GIB = 2**30
APP = Profile(process=44 * MIB)
"""An app as the measured ones: it imports little more than Celery."""
MIXED = replace(APP, jobs=1000, wall=0.144, cpu=0.0058, long=0.45, growth=1 * MIB)
"""Four fifths wait for 50 to 500 ms, one uses the CPU for 20 ms."""
BUSY = replace(APP, jobs=1000, wall=0.0205, cpu=0.02, long=0.022, growth=1 * MIB)
EMPTY = replace(APP, jobs=1000, wall=0.0008, cpu=0.0007, long=0.0012, growth=0)
WAITING = replace(APP, jobs=1000, wall=0.2, cpu=0.0005, long=0.5, growth=0)
FAT = replace(APP, jobs=100, wall=1.0, cpu=0.9, long=1.5, growth=200 * MIB)
SAFE = ("threads", "prefork")


def limits(cpus: float = 2, memory: float = 8 * GIB, files: float = 65536) -> Limits:
    """Return limits as a container would have them."""
    return Limits(Limit(cpus, "cpu.max of /"), Limit(memory, "memory.max of /"), Limit(files, "ulimit -n"))


def made(profile: Profile, bounds: Limits | None = None, **terms: Any) -> Plan:
    """Return the plan for jobs on two CPUs, if nothing else is said."""
    return pool_size.plan(bounds or limits(), profile, Terms(**terms))


@pytest.mark.parametrize(
    ("profile", "terms", "kind", "replicas", "concurrency", "prefetch"),
    [
        (APP, {}, "prefork", 1, 2, 1),
        (APP, {"chosen": "solo"}, "solo", 1, 1, 1),
        (APP, {"chosen": "threads"}, "threads", 1, 10, 1),
        (APP, {"chosen": "gevent"}, "gevent", 1, 50, 4),
        (APP, {"kinds": ("threads",)}, "threads", 1, 10, 1),
        (APP, {"kinds": SAFE}, "prefork", 1, 2, 1),
        (EMPTY, {}, "prefork", 1, 6, 64),
        (replace(EMPTY, wall=0.0003, cpu=0.0003), {}, "prefork", 1, 9, 64),
        (EMPTY, {"kinds": SAFE}, "threads", 2, 3, 64),
        (EMPTY, {"chosen": "solo"}, "solo", 2, 1, 64),
        (BUSY, {}, "prefork", 1, 4, 4),
        (BUSY, {"kinds": SAFE}, "prefork", 1, 4, 4),
        (replace(BUSY, wall=0.2, cpu=0.2, long=0.2), {}, "prefork", 1, 2, 1),
        (BUSY, {"kinds": ("threads",)}, "threads", 2, 2, 4),
        (MIXED, {}, "prefork", 1, 50, 1),
        (MIXED, {"kinds": SAFE}, "threads", 2, 25, 1),
        (MIXED, {"kinds": ("gevent", "prefork")}, "gevent", 2, 25, 4),
        (MIXED, {"kinds": SAFE, "replicas": 1}, "threads", 1, 50, 1),
        (WAITING, {}, "prefork", 1, 64, 1),
        (WAITING, {"kinds": SAFE}, "threads", 1, 200, 1),
        (replace(MIXED, seen=4, used=0.5), {}, "prefork", 1, 16, 1),
        (replace(MIXED, seen=4, used=1.9), {}, "prefork", 1, 4, 1),
        (replace(MIXED, seen=4, used=0.95), {"chosen": "threads"}, "threads", 2, 4, 1),
        (replace(MIXED, seen=4, used=0.95), {"chosen": "threads", "replicas": 1}, "threads", 1, 4, 1),
        (replace(MIXED, seen=4, used=0.95, arrival=10.0), {"chosen": "threads"}, "threads", 1, 3, 1),
        (replace(EMPTY, cpu=0.0001, seen=10, used=1.0), {"kinds": SAFE}, "threads", 2, 8, 64),
        (replace(MIXED, seen=64, used=1.9), {}, "prefork", 1, 50, 1),
        (FAT, {}, "prefork", 1, 2, 1),
    ],
)
def test_measured_jobs_get_what_was_measured_best(
    profile: Profile, terms: dict[str, Any], kind: str, replicas: int, concurrency: int, prefetch: int
) -> None:
    """On two CPUs: as many children for busy jobs, two replicas of 25 threads for mixed ones that may have them."""
    plan = made(profile, **terms)
    assert (plan.kind, plan.replicas, plan.concurrency, plan.prefetch) == (kind, replicas, concurrency, prefetch)


def test_an_app_that_did_not_say_so_gets_no_threads() -> None:
    """Whatever its jobs do: shared state that nobody has looked for breaks in production."""
    for profile in (APP, MIXED, BUSY, WAITING):
        assert made(profile).kind == "prefork"


def test_more_cpus_do_not_make_a_main_process_hand_out_more() -> None:
    """Jobs that do nothing get a child a CPU on a large machine, not four; jobs of 20 ms get two."""
    nothing = replace(EMPTY, wall=0.0003, cpu=0.0003)
    assert [made(nothing, limits(cpus=cpus)).concurrency for cpus in (1, 2, 4, 32)] == [5, 9, 9, 32]
    assert made(BUSY, limits(cpus=32, memory=64 * GIB)).concurrency == 64


def test_threads_that_use_all_cpus_need_one_process() -> None:
    """A Python without its lock, or an extension that lets go of it, is known by what its threads were seen to use."""
    free = replace(BUSY, parallel=2.0)
    assert (made(free, kinds=SAFE).kind, made(free, kinds=SAFE).replicas) == ("threads", 1)
    assert made(replace(BUSY, parallel=1.1), kinds=SAFE).kind == "prefork"
    assert made(replace(MIXED, parallel=2.0), kinds=SAFE).replicas == 1


@pytest.mark.parametrize(
    ("memory", "concurrency"),
    [(24 * GIB, 2), (1 * GIB, 2), (512 * MIB, 1), (300 * MIB, 1)],
)
def test_jobs_that_need_memory_get_as_many_children_as_have_room(memory: float, concurrency: int) -> None:
    """Jobs of 200 MB under 512 MB run one at a time, and the kernel kills none of them."""
    assert made(FAT, limits(memory=memory)).concurrency == concurrency


def test_a_limit_that_one_job_does_not_fit_into_is_refused_with_what_is_needed() -> None:
    """Instead of a worker that is killed at its first job."""
    with pytest.raises(DoesNotFitError) as caught:
        made(FAT, limits(memory=256 * MIB))
    assert str(caught.value) == "266 MB are needed, 256 MB are there (memory.max of /)"
    assert (caught.value.needed, caught.value.there.value) == (266 * MIB, 256 * MIB)
    assert made(FAT, limits(memory=266 * MIB)).concurrency == 1


def test_a_child_is_replaced_before_the_limit_and_not_in_normal_operation() -> None:
    """max_memory_per_child is above what a usual job takes, and all children together stay below the limit."""
    plan = made(replace(BUSY, growth=50 * MIB), limits(memory=512 * MIB))
    assert plan.max_memory_per_child is not None
    assert plan.max_memory_per_child * 1024 > (44 + 50) * MIB
    shared = 22 * MIB
    assert 44 * MIB + plan.concurrency * (plan.max_memory_per_child * 1024 - shared) < 512 * MIB
    tight = made(APP, limits(memory=90 * MIB))
    assert tight.max_memory_per_child is None
    assert "would be replaced after each" in tight.why("max_memory_per_child")
    assert made(MIXED, kinds=SAFE).max_memory_per_child is None


@pytest.mark.parametrize(("long", "prefetch"), [(3600, 1), (0.2, 1), (0.05, 2), (0.01, 10), (0.0001, 64)])
def test_short_jobs_are_fetched_ahead_and_long_ones_are_not(long: float, prefetch: int) -> None:
    """No more than a tenth of a second of work waits beside a running job while another worker idles."""
    assert made(replace(BUSY, long=long)).prefetch == prefetch


@pytest.mark.parametrize("long", [3600, 0.05, 0.0001])
def test_green_pools_are_never_prefetched_below_4(long: float) -> None:
    """Below it they stall on Redis."""
    assert made(replace(MIXED, long=long), chosen="gevent").prefetch >= 4


def test_jobs_that_arrive_rarely_get_no_children_that_idle() -> None:
    """Two jobs a second of 0.2 s are hardly ever two at a time, even if a hundred might be."""
    plan = made(replace(WAITING, arrival=2.0))
    assert plan.concurrency == 2
    assert plan.why("concurrency").startswith("2 jobs/s of 0.2 s; ")


def test_connections_and_files_bound_what_the_jobs_would_like() -> None:
    """A pool of 20 connections is not asked by 64 jobs at once, whatever they wait for."""
    plan = made(WAITING, connections=(Limit(20, "the database's pool"),))
    assert plan.concurrency == 20
    assert "the database's pool allows 20" in str(plan)
    assert made(WAITING, limits(files=104)).concurrency == 10
    assert made(replace(APP, jobs=1, wall=1, cpu=1, long=1), chosen="solo", connections=(Limit(1, "x"),)).replicas == 1


@pytest.mark.parametrize(
    ("profile", "bounds", "terms", "allows", "source"),
    [
        (APP, limits(), {"chosen": "prefork"}, 64, "cpu.max of /"),
        (APP, limits(memory=512 * MIB), {"chosen": "prefork"}, 6, "memory (512 MB, memory.max of /)"),
        (FAT, limits(memory=1 * GIB), {"chosen": "prefork"}, 4, "memory (1024 MB, memory.max of /)"),
        (APP, limits(files=184), {"chosen": "threads"}, 30, "ulimit -n 184"),
        (APP, limits(), {"chosen": "gevent", "connections": (Limit(20, "pool_size"),)}, 20, "pool_size"),
    ],
)
def test_a_running_worker_grows_to_the_least_bound(
    profile: Profile, bounds: Limits, terms: dict[str, Any], allows: int, source: str
) -> None:
    """Memory for each job, known or put aside; files, connections, and what a CPU is of use to.

    Where the most that jobs take is known, that is more than it begins with: it sees what they have at the same time.
    """
    bound = pool_size.ceiling(bounds, profile, Terms(**terms))
    assert (bound.allows, bound.text) == (allows, source)


def test_what_a_job_more_takes_is_never_less_than_jobs_at_hand_do() -> None:
    """Children share with the main process what they were forked with; what they have beside counts for each."""
    used = pool_size.memory_used(APP, 44 * MIB, [144 * MIB, 44 * MIB])
    assert used == (44 + 122 + 22) * MIB
    assert pool_size.slot("prefork", APP, used, 2) == 72 * MIB
    assert pool_size.slot("prefork", APP, 44 * MIB, 2) == (22 + 32) * MIB
    assert pool_size.slot("threads", APP, 54 * MIB, 5) == 2 * MIB


def test_a_plan_says_why() -> None:
    """One line tells an operator what decided, and what else would have."""
    assert str(made(MIXED, limits(memory=1 * GIB), kinds=SAFE, connections=(Limit(80, "the database's pool"),))) == (
        "concurrency 25 (threads), replica 1 of 2: jobs wait 96 % of their time; "
        "memory (1024 MB, memory.max of /) allows 731; ulimit -n 65536 allows 32736; the database's pool allows 80"
    )
    assert str(made(APP, limits(0.5, 256 * MIB))) == (
        "concurrency 1 (prefork): 0.5 CPUs (cpu.max of /); "
        "memory (256 MB, memory.max of /) allows 1; ulimit -n 65536 allows 16368"
    )


profiles = st.builds(
    Profile,
    process=st.floats(8 * MIB, 2 * GIB),
    child=st.none() | st.floats(1 * MIB, 2 * GIB),
    jobs=st.integers(0, 10_000),
    wall=st.floats(0, 10_000),
    cpu=st.floats(0, 10_000),
    long=st.floats(0, 100_000),
    growth=st.none() | st.floats(0, 4 * GIB),
    parallel=st.floats(0.1, 64),
    arrival=st.none() | st.floats(0, 10_000),
)
bounds = st.builds(
    limits, st.floats(0.01, 256), st.floats(16 * MIB, 1024 * GIB) | st.just(math.inf), st.integers(64, 2**20)
)
kinds = st.sampled_from(["prefork", "solo", "threads", "gevent", "eventlet"])
terms = st.builds(
    Terms,
    kinds=st.lists(kinds, min_size=1, unique=True).map(tuple),
    chosen=st.just("") | kinds,
    replicas=st.none() | st.just(1),
    connections=st.lists(st.builds(Limit, st.integers(1, 1000), st.just("a pool"))).map(tuple),
)


def planned(bounds: Limits, profile: Profile, terms: Terms) -> Plan:
    """Return the plan of an example that fits; others are refused, which is another promise."""
    try:
        return pool_size.plan(bounds, profile, terms)
    except DoesNotFitError as exc:
        refused = exc
    assert refused.needed > refused.there.value
    return reject()


def memory_of(plan: Plan, profile: Profile) -> float:
    """Return the bytes that a plan's processes are known to take with as many jobs as each may run."""
    own = 0.0
    if plan.kind == "prefork":
        own = profile.process / 2 if profile.child is None else profile.child
    slot = own if profile.growth is None else max(own + profile.growth, 1 * MIB)
    return plan.replicas * (profile.process + plan.concurrency * slot)


@given(bounds=bounds, profile=profiles, terms=terms)
def test_no_plan_exceeds_its_limits(bounds: Limits, profile: Profile, terms: Terms) -> None:
    """Neither in memory nor in files nor in connections, and each runs at least one job; the same twice over."""
    plan = planned(bounds, profile, terms)
    slots = plan.replicas * plan.concurrency
    assert plan.concurrency >= 1 and plan.replicas >= 1 and plan.prefetch >= 1
    assert memory_of(plan, profile) <= bounds.memory.value
    assert slots == plan.replicas or slots <= min([math.inf, *(limit.value for limit in terms.connections)])
    assert plan.concurrency == 1 or plan.concurrency <= (bounds.files.value - 64) / 4
    assert plan.kind == (terms.chosen or plan.kind) and (terms.chosen or plan.kind in terms.kinds)
    assert plan == pool_size.plan(bounds, profile, terms)


@given(bounds=bounds, profile=profiles, terms=terms)
def test_every_value_of_a_plan_has_a_reason(bounds: Limits, profile: Profile, terms: Terms) -> None:
    """Nothing is tuned that nobody can ask why."""
    plan = planned(bounds, profile, terms)
    values = {"kind", "replicas", "concurrency", "prefetch", "max_memory_per_child"}
    assert {reason.of for reason in plan.reasons} == values
    assert all(plan.why(name) for name in values)


@given(
    bounds=bounds,
    more=st.tuples(st.floats(1, 16), st.floats(1, 16), st.integers(1, 16)),
    profile=profiles,
    terms=terms,
)
@example(
    bounds=limits(16, 934 * MIB, 116),
    more=(1, 3, 1),
    profile=Profile(process=136 * MIB, jobs=1),
    terms=Terms(kinds=("prefork", "solo", "threads")),
)
def test_more_of_a_machine_never_makes_a_smaller_pool(
    bounds: Limits, more: tuple[float, float, int], profile: Profile, terms: Terms
) -> None:
    """More CPUs, memory or files: at least as many jobs at once.

    But for what does not divide among replicas, and for the memory that is now given to more of them.
    """
    small = planned(bounds, profile, terms)
    large = pool_size.plan(
        limits(bounds.cpus.value * more[0], bounds.memory.value * more[1], bounds.files.value * more[2]), profile, terms
    )
    assume(small.kind == large.kind)
    given_to_replicas = max(0, large.replicas - small.replicas) * profile.process
    instead = given_to_replicas / max(profile.growth or 0.0, 1 * MIB)
    assert large.replicas * (large.concurrency + 1) + instead > small.replicas * small.concurrency


def test_what_has_no_room_in_the_memory_is_known_without_a_job_seen() -> None:
    """Sixteen children of a large app do not fit into a gibibyte; of a small one they may."""
    bounds = limits(memory=1 * GIB)
    assert pool_size.most("prefork", bounds, Profile(process=180 * MIB)) < 16
    assert pool_size.most("prefork", bounds, APP) > 16
    assert pool_size.most("prefork", bounds, FAT) < 16
    assert pool_size.most("threads", bounds, APP) > 1000
