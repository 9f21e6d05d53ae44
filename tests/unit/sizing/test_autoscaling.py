"""Whether a running worker grows, shrinks or stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celerykit.sizing import autoscaling
from celerykit.sizing.autoscaling import Decision, Situation, State, decide

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20
WAITING = Situation(
    at=1000.0, size=4, taken=4, queued=20, cpu=0.2, wanted=0.25, delayed=0.03, floor=2, most=64,
    why_most="memory allows 64", left=900 * MIB, full=0.3, slot=50 * MIB, at_once=8,
)  # fmt: skip
"""A worker whose jobs wait for something else, while others wait for them."""


def looks(*situations: Situation, state: State | None = None) -> tuple[list[Decision], State]:
    """Decide on one situation after the other, a second apart."""
    state, decisions = state or State(), []
    for number, situation in enumerate(situations):
        decision, state = decide(replace(situation, at=situation.at + number), state)
        decisions.append(decision)
    return decisions, state


def last(number: int = 3, **changes: Any) -> Decision:
    """Return the decision at the last of some looks at a worker like the one above."""
    return looks(*[replace(WAITING, **changes)] * number)[0][-1]


@pytest.mark.parametrize(
    ("changes", "change", "reason"),
    [
        ({}, 2, "20 jobs wait, 20 % of the CPUs are used"),
        ({"size": 20, "taken": 20}, 8, "20 jobs wait, 20 % of the CPUs are used"),
        ({"queued": 0}, 0, "no job waits for a slot"),
        ({"queued": 0, "taken": 5}, 2, "1 job waits, 20 % of the CPUs are used"),
        ({"taken": 3}, 0, "no job waits for a slot"),
        ({"cpu": 0.95, "wanted": 1.0}, 0, "20 jobs wait, but 95 % of the CPUs are used"),
        ({"cpu": 0.8, "wanted": 1.2}, 0, "20 jobs wait, but 120 % of the CPUs are asked for"),
        ({"cpu": 0.5, "delayed": 0.3}, 0, "20 jobs wait, but running jobs wait for a CPU"),
        ({"cpu": 0.8, "wanted": 1.0}, 1, "20 jobs wait, 80 % of the CPUs are used"),
        ({"most": 5}, 1, "20 jobs wait, 20 % of the CPUs are used"),
        ({"most": 4, "why_most": "files allow 4"}, 0, "20 jobs wait, but files allow 4"),
        ({"most": 3, "why_most": "files allow 3"}, -1, "files allow 3"),
        ({"left": 49 * MIB}, 0, "20 jobs wait, but one job more takes 50 MB, 49 MB are left"),
        ({"left": -MIB, "full": 0.81}, 0, "20 jobs wait, but one job more takes 50 MB, nothing is left"),
        ({"left": 51 * MIB}, 1, "20 jobs wait, 20 % of the CPUs are used"),
        ({"leaving": 1}, 0, "20 jobs wait, and the last change has yet to show its effect"),
        ({"wanted": 3.5, "cpu": 1.0, "delayed": 0.6}, -1, "jobs want 3.5 times the CPUs that there are"),
        ({"wanted": 3.5, "cpu": 1.0, "delayed": 0.4}, 0, "20 jobs wait, but 100 % of the CPUs are used"),
        ({"wanted": 3.5, "cpu": 1.0, "delayed": 0.6, "floor": 4}, 0, "20 jobs wait, but 100 % of the CPUs are used"),
    ],
)  # fmt: skip
def test_growing_takes_all_reasons_and_shrinking_one(changes: dict[str, Any], change: int, reason: str) -> None:
    """It grows if jobs wait for a slot while CPUs and memory are left, and says what is in the way if they are not."""
    assert last(3, **changes) == Decision(change, reason)


def test_a_burst_of_jobs_that_use_the_cpus_does_not_make_it_grow() -> None:
    """The first look at which they wait is on a second in which the CPUs had less to do, and is not believed."""
    idle, burst = replace(WAITING, taken=0, queued=0, cpu=0.0), replace(WAITING, cpu=0.95)
    decisions, _ = looks(idle, idle, replace(WAITING, cpu=0.3), burst, burst, burst)
    assert [decision.change for decision in decisions] == [0] * 6
    assert looks(idle, WAITING, WAITING)[0][-1] == Decision(0, "20 jobs wait, but not for long")


def test_memory_that_is_free_for_a_moment_is_not_taken() -> None:
    """Between two large jobs there is room for a third one, and there is none once both have begun again."""
    filled, between = replace(WAITING, left=20 * MIB), replace(WAITING, left=400 * MIB)
    decisions, _ = looks(filled, between, between, filled, between)
    assert {decision.change for decision in decisions} == {0}
    assert "one job more takes 50 MB, 20 MB are left" in decisions[-1].reason
    assert last(3, left=400 * MIB).change > 0


def test_memory_that_runs_short_makes_it_shrink_at_the_first_look() -> None:
    """By as many jobs as bring it back below the headroom, and never to none."""
    short = {"full": 0.92, "left": -120 * MIB}
    assert last(1, **short) == Decision(-3, "92 % of the memory are used")
    assert last(1, **short, size=2).change == -1
    assert last(1, **short, size=1).change == 0


def test_a_second_shrinking_waits_for_the_effect_of_the_first() -> None:
    """What runs is not interrupted, so its memory is free later; near the limit nobody waits for that."""
    short = replace(WAITING, full=0.92, left=-40 * MIB, size=8, taken=8)
    after = replace(short, size=7, leaving=1)
    gone = replace(after, leaving=0)
    changes = [decision.change for decision in looks(short, after, after, replace(gone, full=0.91), gone)[0]]
    assert changes == [-1, 0, 0, -1, 0]
    assert [decision.change for decision in looks(short, replace(gone, full=0.96, left=-80 * MIB))[0]] == [-1, -2]


def test_shrinking_that_frees_nothing_is_not_repeated() -> None:
    """Memory that is not the jobs' own is not got back by fewer of them."""
    short = replace(WAITING, full=0.92, left=-40 * MIB)
    decisions, _ = looks(short, *[replace(short, size=3)] * 5)
    assert [decision.change for decision in decisions] == [-1, 0, 0, 0, 0, 0]
    assert decisions[-1].reason == "92 % of the memory are used, and fewer jobs at once have not freed any"


def test_it_does_not_grow_while_more_jobs_fail_than_before_it_last_grew() -> None:
    """Growth that makes jobs fail is undone at once, and not tried again for ten minutes; other errors hold it up."""
    (*_, grown), state = looks(WAITING, WAITING, WAITING)
    assert grown.change == 2
    failing = replace(WAITING, size=6, taken=6, failed=5, ended=20, at=1003.0)
    undone, state = decide(failing, state)
    assert undone == Decision(-2, "25 % of the jobs fail, 0 % before")
    well = [replace(WAITING, failed=5, ended=20 + 50 * n, at=1004.0 + n) for n in range(590)]
    decisions, state = looks(*[replace(one, at=one.at - n) for n, one in enumerate(well)], state=state)
    assert {decision.change for decision in decisions} == {0}
    assert decisions[-1].reason == "20 jobs wait, but more at once had a bad effect"
    later = replace(WAITING, failed=5, ended=29520, at=1604.0)
    assert [decision.change for decision in looks(later, later, state=state)[0]] == [2, 0]
    assert last(2, failed=5, ended=20, taken=4).change == 0


def test_jobs_that_always_fail_now_and_then_do_not_keep_it_small() -> None:
    """What matters is that more fail than before."""
    steady = [replace(WAITING, size=4, failed=10 * n, ended=100 * n) for n in range(1, 30)]
    _, state = looks(*steady)
    grown = replace(state, grew_at=1000.0, usual_failures=state.failures, looks=())
    more = [replace(WAITING, at=1050.0, failed=10 * n, ended=100 * n) for n in (30, 31)]
    assert looks(*more, state=grown)[0][-1].change == 2


@dataclass(frozen=True)
class Plant:
    """A worker's jobs and machine that do not change: as many jobs wait as there may ever be."""

    busy: float
    cpus: int
    base: float
    job: float
    limit: float
    most: int
    demand: int
    known: float
    """Which part of a job's memory is known before it runs."""
    breaks_at: int

    def at(self, size: int, now: float, ended: int, failed: int) -> Situation:
        """Return what is seen with so many jobs at once."""
        running = min(size, self.demand)
        done = min(running, self.cpus / self.busy)
        at_cpus = running - done * (1 - self.busy)
        used = self.base + running * self.job
        return Situation(
            at=now, size=size, taken=running, queued=max(0, self.demand - size),
            cpu=done * self.busy / self.cpus, wanted=at_cpus / self.cpus,
            delayed=(at_cpus - done * self.busy) / max(1, running),
            floor=self.cpus, most=self.most, why_most="a bound", left=0.8 * self.limit - used, full=used / self.limit,
            slot=self.job * self.known, at_once=8, failed=failed, ended=ended,
        )  # fmt: skip

    def run(self, start: int, seconds: int) -> Iterator[tuple[Situation, Decision]]:
        """Yield each look of so many seconds, and what came of it."""
        size, state, ended, failed = start, State(), 0, 0
        for now in range(seconds):
            ended += min(size, self.demand)
            failed += max(0, min(size, self.demand) - self.breaks_at)
            situation = self.at(size, 1000.0 + now, ended, failed)
            decision, state = decide(situation, state)
            yield situation, decision
            size += decision.change


plants = st.builds(
    Plant,
    busy=st.floats(0.005, 1.0),
    cpus=st.integers(1, 32),
    base=st.floats(10 * MIB, 400 * MIB),
    job=st.floats(1 * MIB, 200 * MIB),
    limit=st.floats(512 * MIB, 8192 * MIB),
    most=st.integers(1, 200),
    demand=st.integers(0, 1000),
    known=st.just(1.0),
    breaks_at=st.just(1_000_000),
)


@given(plants, st.integers(1, 50))
@settings(max_examples=100, deadline=None)
def test_it_never_grows_beyond_what_there_is_room_for(plant: Plant, start: int) -> None:
    """Neither beyond its bounds nor into the headroom of the memory, and never to no job at all."""
    for situation, decision in plant.run(start, 120):
        after = situation.size + decision.change
        assert after >= 1
        if decision.change > 0:
            assert after <= plant.most
            assert situation.left >= decision.change * situation.slot


@given(plants, st.integers(1, 50))
@settings(max_examples=100, deadline=None)
def test_what_does_not_change_is_left_alone(plant: Plant, start: int) -> None:
    """On jobs and a machine that stay as they are it turns round once at most, and comes to rest."""
    changes = [decision.change for _, decision in plant.run(start, 400) if decision.change]
    turns = sum((one > 0) != (other > 0) for one, other in zip(changes, changes[1:], strict=False))
    assert turns <= 1
    assert not [decision for _, decision in [*plant.run(start, 400)][-200:] if decision.change]


@given(plants.map(lambda plant: replace(plant, known=0.3)), st.integers(1, 20), st.integers(5, 60))
@settings(max_examples=100, deadline=None)
def test_jobs_that_surprise_do_not_make_it_swing(plant: Plant, start: int, breaks_at: int) -> None:
    """Memory or errors that show after it has grown are tried again every ten minutes at most."""
    plant = replace(plant, breaks_at=breaks_at)
    changes = [decision.change for _, decision in plant.run(start, 590) if decision.change]
    turns = sum((one > 0) != (other > 0) for one, other in zip(changes, changes[1:], strict=False))
    assert turns <= 4


@given(plants.filter(lambda plant: plant.demand > 500), st.integers(1, 50))
@settings(max_examples=100, deadline=None)
def test_it_finds_nine_tenths_of_the_best_within_a_minute(plant: Plant, start: int) -> None:
    """Of the throughput that CPUs, memory and bounds allow, whatever it began with."""
    room = int((0.8 * plant.limit - plant.base) // plant.job)
    best = min(max(1, min(room, plant.most, 200)), plant.cpus / plant.busy)
    if best > 150 and start < 10:
        return  # which takes a prefork pool half a minute more
    *_, (situation, _) = plant.run(start, 60)
    assert min(situation.size, plant.cpus / plant.busy) >= 0.9 * min(best, 150) - 1


def test_the_marks_leave_room_between_them() -> None:
    """What makes it shrink is never brought about by one more job than what makes it grow."""
    assert autoscaling.STARVED >= 2 * autoscaling.DELAYED
    assert autoscaling.SHORT > 1 - autoscaling.HEADROOM
