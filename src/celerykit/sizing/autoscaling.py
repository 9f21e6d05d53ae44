"""By how much a running worker's concurrency should change, and why: a decision on what was seen of it.

Growing needs reasons that all agree, and shrinking one: jobs that wait for a slot while there are CPUs, memory and no
new errors make it grow by up to a half at a time; memory that runs short makes it shrink at once. Between the marks at
which it does the one and the other there is room, so that neither brings about the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import fmean

from celerykit.sizing.model import megabytes
from celerykit.sizing.pool_size import HEADROOM

LOOKS = 2
"""Looks since the last change before the pool grows: the effect of the change must be seen first."""
LOOKS_AT_CPUS = 3
"""Looks since the last change before the pool shrinks for want of CPUs, which kills nobody."""
LOOKS_KEPT = 3
TAKEN = 0.8
"""The part of the slots that counts as all: between two short jobs a slot is free for a moment."""
BUSY = 0.93
"""The part of the CPUs in use from which on more jobs at once do not mean more jobs done."""
DELAYED = 0.25
"""The part of its time that a job waits for a CPU from which on more jobs at once do not mean more jobs done.

The CPUs may be busy with other processes of the machine.
"""
ASKED = 1.1
"""How many times the CPUs that there are jobs may want: before all are used up, some jobs wait for one now and then."""
OVERDRAWN = 3.0
"""How many times the CPUs that there are jobs may want, before fewer at once are better ..."""
STARVED = 0.5
"""... if each waits for so much of its time; twice :data:`DELAYED`, so that a quarter less is no reason to grow."""
SHORT = 0.85
"""The part of the memory in use at which the pool shrinks.

It grows up to :data:`~celerykit.sizing.pool_size.HEADROOM` only.
"""
DESPERATE = 0.95
"""The part of the memory in use at which the pool shrinks without waiting for the effect of the last time."""
RELIEF = 0.01
"""The part of the memory that one shrinking has to free, or the next one is no use either."""
REST = 10.0
"""Seconds without growth after the pool has shrunk."""
BLAME = 10.0
"""Seconds after growth in which a shortage of memory, or errors, count as its effect."""
HOLD = 600.0
"""Seconds for which the pool does not grow again to a size that had such an effect."""
RISEN = 0.05
"""By how much more of the jobs must fail than before the last growth, to count."""
FAILURES = 3
"""How many jobs must fail, lately, to count."""
FADING = 0.93
"""What a look leaves of the failures before it: half of them are forgotten after 10 s."""
FADING_SLOT = 0.95
"""What a look leaves of the memory that a job was seen to take at most."""


@dataclass(frozen=True)
class Situation:
    """What one look at a worker has found; sizes in bytes."""

    at: float
    """When, in seconds of a clock that only goes forward."""
    size: int
    """How many jobs may run at once."""
    taken: int
    """How many jobs have been fetched and are not done, those that wait for a slot included."""
    queued: int
    """How many wait in the queues."""
    cpu: float
    """The part in use of the CPUs that this worker can use."""
    wanted: float
    """The part of those CPUs that its processes used or were ready to use: above 1 if they want more than there is."""
    delayed: float
    """The part of its time that a job was ready to run and had no CPU."""
    floor: int
    """How many jobs that never wait use all those CPUs."""
    most: int
    """How many jobs at once there is room for, in memory that is put aside for each, connections and so on."""
    why_most: str
    left: float
    """The memory that may be used before the headroom begins; negative inside it."""
    full: float
    """The part of the memory in use, of the limit that is nearest."""
    slot: float
    """What one more job at once takes."""
    at_once: int
    """How many slots at most are added at one look."""
    failed: int = 0
    """How many jobs have failed so far."""
    ended: int = 0
    """How many jobs have ended so far."""
    leaving: int = 0
    """How many children still have a job that are to end after it."""

    @property
    def waiting(self) -> int:
        """How many jobs wait for a slot, here or in the queues."""
        return self.queued + max(0, self.taken - self.size)


@dataclass(frozen=True)
class State:
    """What is remembered from look to look."""

    looks: tuple[Situation, ...] = ()
    """The last ones since the last change, the newest last."""
    waited: int = 0
    """At how many of the last ones, without a break, jobs waited for a slot."""
    slot: float = 0.0
    """What a job was lately seen to take at most."""
    failed: float = 0.0
    """How many jobs failed lately, and how many ended."""
    ended: float = 0.0
    counted: tuple[int, int] = (0, 0)
    """The counters at the last look."""
    grew_at: float = -HOLD
    grew_from: int = 1
    usual_failures: float = 0.0
    """The part of the jobs that failed before the last growth."""
    shrank_at: float = -HOLD
    full_then: float | None = None
    """How full the memory was when the pool shrank for it the last time, until there is enough again."""
    bound: int | None = None
    """The size above which growth has had a bad effect, and until when that counts."""
    bound_until: float = 0.0

    @property
    def failures(self) -> float:
        """The part of the jobs that failed lately."""
        return self.failed / self.ended if self.ended >= 1 else 0.0


@dataclass(frozen=True)
class Decision:
    """What to do, and why."""

    change: int
    """How many jobs more or less may run at once; by one at a time."""
    reason: str
    blamed: bool = field(default=False, compare=False)
    """Whether the last growth is to be undone for a while."""


def decide(now: Situation, before: State) -> tuple[Decision, State]:
    """Return what to do in a situation, and what to remember of it."""
    state = _remember(now, before)
    for consider in (_for_memory, _for_bounds, _for_errors, _for_cpus):
        decision = consider(now, state)
        if decision is not None:
            break
    else:
        decision = _growth(now, state)
    return decision, _after(decision, now, state)


def _remember(now: Situation, state: State) -> State:
    failed, ended = (max(0, new - old) for new, old in zip((now.failed, now.ended), state.counted, strict=True))
    return replace(
        state,
        looks=(*state.looks, now)[-LOOKS_KEPT:],
        waited=state.waited + 1 if now.waiting else 0,
        slot=max(now.slot, FADING_SLOT * state.slot),
        failed=FADING * state.failed + failed,
        ended=FADING * state.ended + ended,
        counted=(now.failed, now.ended),
        full_then=state.full_then if now.full >= 1 - HEADROOM else None,
        bound=state.bound if now.at < state.bound_until else None,
    )


def _after(decision: Decision, now: Situation, state: State) -> State:
    if not decision.change:
        return state
    if decision.blamed:
        state = replace(state, bound=now.size + decision.change, bound_until=now.at + HOLD)
    if decision.change < 0:
        full = now.full if now.full >= SHORT else state.full_then
        return replace(state, looks=(), shrank_at=now.at, full_then=full)
    return replace(state, looks=(), grew_at=now.at, grew_from=now.size, usual_failures=state.failures)


def _for_memory(now: Situation, state: State) -> Decision | None:
    if now.full < SHORT:
        return None
    used = f"{now.full:.0%} of the memory are used".replace("%", " %")
    if now.size == 1:
        return Decision(0, used)
    if state.full_then is not None and now.full < DESPERATE:
        if now.leaving or len(state.looks) < LOOKS:
            return Decision(0, f"{used}, and the last change has yet to free some")
        if abs(now.full - state.full_then) < RELIEF:
            return Decision(0, f"{used}, and fewer jobs at once have not freed any")
    over = -int(now.left // max(state.slot, 1.0)) - now.leaving
    blamed = now.at - state.grew_at <= BLAME and state.grew_from < now.size
    wanted = min(max(1, over), now.size - 1)
    if blamed:
        wanted = max(wanted, now.size - state.grew_from)
    return Decision(-wanted, used, blamed)


def _for_bounds(now: Situation, _state: State) -> Decision | None:
    most = max(1, now.most)
    return Decision(most - now.size, now.why_most) if now.size > most else None


def _for_errors(now: Situation, state: State) -> Decision | None:
    if state.failed < FAILURES or state.failures <= state.usual_failures + RISEN:
        return None
    failed = f"{state.failures:.0%} of the jobs fail, {state.usual_failures:.0%} before".replace("%", " %")
    if now.at - state.grew_at <= BLAME and state.grew_from < now.size:
        return Decision(state.grew_from - now.size, failed, blamed=True)
    return Decision(0, failed)


def _for_cpus(now: Situation, state: State) -> Decision | None:
    if now.size <= now.floor or len(state.looks) < LOOKS_AT_CPUS:
        return None
    wanted = min(look.wanted for look in state.looks)
    if wanted < OVERDRAWN or min(look.delayed for look in state.looks) < STARVED:
        return None
    # Whatever a quarter less brings about, it is above the mark at which the pool would grow again.
    less = min(max(1, now.size // 4), now.size - now.floor)
    return Decision(-less, f"jobs want {wanted:.1f} times the CPUs that there are")


def _growth(now: Situation, state: State) -> Decision:
    looks = state.looks[-LOOKS:]
    seen = zip(*((look.taken, look.cpu, look.wanted, look.delayed) for look in looks), strict=True)
    taken, cpu, wanted, delayed = map(fmean, seen)
    used = f"{min(cpu, 1.0):.0%} of the CPUs are used".replace("%", " %")
    if not now.waiting or taken < TAKEN * now.size:
        return Decision(0, "no job waits for a slot")
    waiting = f"{now.waiting} {'job waits' if now.waiting == 1 else 'jobs wait'}"
    if now.leaving or len(looks) < LOOKS or now.at - state.shrank_at < REST:
        return Decision(0, f"{waiting}, and the last change has yet to show its effect")
    # The first look at which they do is on a time before they came, when the CPUs had less to do.
    if state.waited <= LOOKS:
        return Decision(0, f"{waiting}, but not for long")
    if cpu >= BUSY:
        return Decision(0, f"{waiting}, but {used}")
    if wanted >= ASKED:  # somebody else uses the rest
        return Decision(0, f"{waiting}, but {wanted:.0%} of the CPUs are asked for".replace("%", " %"))
    if delayed >= DELAYED:
        return Decision(0, f"{waiting}, but so do those that run, for a CPU")
    most = now.most if state.bound is None else min(now.most, state.bound)
    if now.size >= most:
        why = now.why_most if most == now.most else "more at once had a bad effect"
        return Decision(0, f"{waiting}, but {why}")
    left = min(look.left for look in state.looks)
    room = int(left // max(state.slot, 1.0))
    if room < 1:
        return Decision(0, f"{waiting}, but one job more takes {megabytes(state.slot)}, {_spare(left)}")
    # By as much as would use the CPUs up, if further jobs are like those that run.
    useful = max(1, int(now.size / max(cpu, 0.01)) - now.size)
    more = min(max(2, now.size // 2), useful, most - now.size, room, now.at_once)
    return Decision(more, f"{waiting}, {used}")


def _spare(left: float) -> str:
    return f"{megabytes(left)} are left" if left > 0 else "nothing is left"
