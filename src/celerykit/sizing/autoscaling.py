"""The change of a running worker's concurrency, with its reason: a decision on measurements.

A pool grows if all conditions hold: jobs wait for a slot, CPUs and memory are free, and there are no new errors. It
grows by up to a half at a time. It shrinks for a single reason, such as short memory, at once. The marks of growing and
of shrinking lie apart, so that neither causes the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import fmean

from celerykit.sizing.model import megabytes
from celerykit.sizing.pool_size import HEADROOM

LOOKS = 2
"""Readings since the last change before the pool grows: they must show the effect of the change."""
LOOKS_AT_CPUS = 3
"""Readings since the last change before the pool shrinks for lack of CPUs; that is not urgent."""
LOOKS_KEPT = 3
TAKEN = 0.8
"""The taken part of the slots that counts as all: between two short jobs a slot is free for a moment."""
BUSY = 0.93
"""The part of the CPUs in use from which on more jobs at once do not raise the throughput."""
DELAYED = 0.25
"""The part of a job's time spent waiting for a CPU from which on more jobs at once do not raise the throughput.

The CPUs may be busy with other processes of the machine.
"""
ASKED = 1.1
"""The demand for CPUs, as a multiple of them, up to which the pool grows: some jobs wait even below full use."""
OVERDRAWN = 3.0
"""The demand for CPUs, as a multiple of them, from which on fewer jobs at once are better ..."""
STARVED = 0.5
"""... if each job waits for this part of its time; twice :data:`DELAYED`, so that the pool does not grow at once."""
SHORT = 0.85
"""The part of the memory in use at which the pool shrinks.

It grows up to :data:`~celerykit.sizing.pool_size.HEADROOM` only.
"""
DESPERATE = 0.95
"""The part of the memory in use at which the pool shrinks before the effect of the last change shows."""
RELIEF = 0.01
"""The part of the memory that a shrinking must free; otherwise the next one is useless, too."""
REST = 10.0
"""Seconds without growth after the pool has shrunk."""
BLAME = 10.0
"""Seconds after growth in which a shortage of memory, or errors, count as its effect."""
HOLD = 600.0
"""Seconds for which the pool does not grow again to a size with such an effect."""
RISEN = 0.05
"""The rise of the failing part of the jobs since the last growth that counts as an effect of it."""
FAILURES = 3
"""The least number of recent failures that counts."""
FADING = 0.93
"""The factor on the counted failures at each reading: it halves them in 10 s."""
FADING_SLOT = 0.95
"""The factor on the largest measured memory of a job at each reading."""


@dataclass(frozen=True)
class Situation:
    """One reading of a worker; sizes in bytes."""

    at: float
    """The time of the reading, in seconds of a monotonic clock."""
    size: int
    """The number of slots."""
    taken: int
    """The number of reserved jobs, with those that wait for a slot."""
    queued: int
    """The number of jobs in the queues."""
    cpu: float
    """The used part of the worker's CPUs."""
    wanted: float
    """The part of those CPUs that its processes used or were ready to use: above 1 if the demand exceeds them."""
    delayed: float
    """The part of its time for which a job was ready to run without a CPU."""
    floor: int
    """The number of jobs that use all those CPUs if they never wait."""
    most: int
    """The most jobs at once that memory, connections and the other bounds allow."""
    why_most: str
    left: float
    """The free memory above the headroom; negative inside the headroom."""
    full: float
    """The used part of the memory, of the nearest limit."""
    slot: float
    """The memory of one more job at once."""
    at_once: int
    """The most slots to add at one reading."""
    failed: int = 0
    """The number of failed jobs so far."""
    ended: int = 0
    """The number of ended jobs so far."""
    leaving: int = 0
    """The number of children that will end after their running job."""

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for a slot, in the worker or in the queues."""
        return self.queued + max(0, self.taken - self.size)


@dataclass(frozen=True)
class State:
    """The memory of the autoscaler between readings."""

    looks: tuple[Situation, ...] = ()
    """The last readings since the last change, the newest last."""
    waited: int = 0
    """The number of consecutive readings with jobs waiting for a slot."""
    slot: float = 0.0
    """The largest recent memory of a job."""
    failed: float = 0.0
    """The faded count of failed jobs; the next field counts ended ones."""
    ended: float = 0.0
    counted: tuple[int, int] = (0, 0)
    """The counters of failed and ended jobs at the last reading."""
    grew_at: float = -HOLD
    grew_from: int = 1
    usual_failures: float = 0.0
    """The failed part of the jobs before the last growth."""
    shrank_at: float = -HOLD
    full_then: float | None = None
    """The used part of the memory when the pool last shrank for it, None once enough is free."""
    bound: int | None = None
    """The size above which growth had a bad effect; the next field holds the time at which this expires."""
    bound_until: float = 0.0

    @property
    def failures(self) -> float:
        """The failed part of the recent jobs."""
        return self.failed / self.ended if self.ended >= 1 else 0.0


@dataclass(frozen=True)
class Decision:
    """A change of the concurrency, and the reason."""

    change: int
    """The number of slots to add, or to remove if it is negative."""
    reason: str
    blamed: bool = field(default=False, compare=False)
    """Whether the change undoes the last growth for :data:`HOLD` seconds."""


def decide(now: Situation, before: State) -> tuple[Decision, State]:
    """Return the decision in a situation, and the next state."""
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
    # After a quarter less, the readings are still above the mark at which the pool would grow again.
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
    # The first reading with waiting jobs covers a time before they came, with less load on the CPUs.
    if state.waited <= LOOKS:
        return Decision(0, f"{waiting}, but not for long")
    if cpu >= BUSY:
        return Decision(0, f"{waiting}, but {used}")
    if wanted >= ASKED:  # other processes use the rest
        return Decision(0, f"{waiting}, but {wanted:.0%} of the CPUs are asked for".replace("%", " %"))
    if delayed >= DELAYED:
        return Decision(0, f"{waiting}, but running jobs wait for a CPU")
    most = now.most if state.bound is None else min(now.most, state.bound)
    if now.size >= most:
        why = now.why_most if most == now.most else "more at once had a bad effect"
        return Decision(0, f"{waiting}, but {why}")
    left = min(look.left for look in state.looks)
    room = int(left // max(state.slot, 1.0))
    if room < 1:
        return Decision(0, f"{waiting}, but one job more takes {megabytes(state.slot)}, {_spare(left)}")
    # Grow to the number that uses all CPUs, if further jobs are like the running ones.
    useful = max(1, int(now.size / max(cpu, 0.01)) - now.size)
    more = min(max(2, now.size // 2), useful, most - now.size, room, now.at_once)
    return Decision(more, f"{waiting}, {used}")


def _spare(left: float) -> str:
    return f"{megabytes(left)} are left" if left > 0 else "nothing is left"
