"""A worker that changes its concurrency while it runs, where tuning has given it the one that it began with."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import time
from typing import TYPE_CHECKING, Any

from celery import bootsteps
from celery.worker import state

from celerykit.celery_app.layer import layer_of
from celerykit.compat import worker_loop
from celerykit.config.pool_kinds import GREEN_POOLS, PREFORK, SOLO, THREADS
from celerykit.sizing import autoscaling, limits, pool_size
from celerykit.sizing.cpu_usage import Meter, Usage, resident_of
from celerykit.sizing.model import DoesNotFitError, Profile
from celerykit.worker import resizing
from celerykit.worker.recorder import Records
from celerykit.worker.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celerykit.sizing.model import Tuning

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

EVERY = 1.0
"""Seconds between two looks."""
OFTEN = 0.25
"""Seconds between two looks while memory may run short: a few large jobs take the rest of it in a second."""
MAY_RUN_SHORT = 0.7
"""The part of the memory in use from which on memory may run short."""
FORKS = 8
"""How many children are added at one look: the event loop forks them, and does nothing else meanwhile."""
TELL_EVERY = 5.0
"""Seconds between two lines of the log about one reason, and between two looks at the record of the jobs."""
ADVISE_EVERY = 600.0
"""Seconds between two lines of the log about a size that cannot be changed."""


def profile_of(worker: Any, process: float) -> Profile | None:
    """Return what the jobs of this worker were seen to do, None if that is not enough to go by.

    :param process: the bytes of a process that has imported the app.
    """
    recorder = next((step for step in worker.steps if isinstance(step, Records)), None)
    record = recorder.record() if recorder is not None else None
    return record.profile(process) if record is not None and record.is_enough else None


class Adapting(bootsteps.StartStopStep):  # type: ignore[misc]
    """Looks at the worker once a second, and changes its size."""

    requires = ("celerykit.worker.liveness:Vitals", "celerykit.worker.leases:Reservations")

    def start(self, worker: Any) -> None:
        """Begin, unless somebody insists on a concurrency."""
        resizing.install(worker)
        worker.pulse.sized(worker.concurrency)
        tuned = getattr(layer_of(worker.app.conf), "tuning", None)
        if tuned is not None and tuned.fills("concurrency") and not worker.autoscale:
            # The event loop's timer; where there is none, a thread's or a greenlet's, which a full pool does not block.
            worker.timer.call_repeatedly(OFTEN, Adapter(worker, tuned).look_if_due)


class Adapter:
    """One worker, and what is remembered of it."""

    def __init__(self, worker: Any, tuned: Tuning):
        self._worker = worker
        self._tuned = tuned
        self._state = autoscaling.State()
        self._meter = Meter()
        self._queues = Queues(worker)
        self._looked_at = self._asked_at = -math.inf
        self._profile = tuned.profile
        self._full = 0.0
        self._ended = 0
        self._reason = ""
        self._advised = False
        self._advised_at = -math.inf
        self._told_at = -math.inf
        self._told_size = worker.concurrency

    def look_if_due(self) -> None:
        """Look once a second, or more often while memory may run short."""
        now = time.monotonic()
        if now - self._looked_at >= EVERY - OFTEN / 2 or self._full >= MAY_RUN_SHORT:
            self._looked_at = now
            self.look()

    def look(self) -> None:
        """See how the worker is, and change its size if that is better."""
        consumer = self._worker.consumer
        stops = state.should_stop is not None or state.should_terminate is not None
        if stops or consumer is None or consumer.task_consumer is None or consumer.qos is None:
            return
        now = self._situation()
        self._full = now.full
        decision, self._state = autoscaling.decide(now, self._state)
        if decision.change and resizing.can_resize(self._worker.pool):
            self._change(decision)
        self._advise(self._advice(now, decision), now)
        self._tell(decision.reason if decision.change else "")
        self._queues.look(now.taken)

    def _situation(self) -> autoscaling.Situation:
        pool, at = self._worker.pool, time.monotonic()
        size, ended = int(pool.num_processes), state.all_total_count[0] - len(state.active_requests)
        taken = len(state.reserved_requests)
        if self._tuned.plan.kind == SOLO and ended > self._ended:
            taken = max(taken, 1)  # it looks between two jobs, when it has none
        self._ended = ended
        profile, pids = self._known(at), [os.getpid(), *resizing.children(pool)]
        most, why_most = self._most(profile)
        return autoscaling.Situation(
            at=at,
            size=size,
            taken=taken,
            queued=self._queues.waiting,
            most=most,
            why_most=why_most,
            at_once=FORKS if self._kind == PREFORK else size,
            failed=Request.failed,
            ended=ended,
            leaving=resizing.leaving(pool),
            **self._cpus(self._meter.read(pids, at), profile, max(1, min(size, taken))),
            **self._memory(pids, profile, size if self._kind == PREFORK else min(size, taken)),
        )

    def _cpus(self, used: Usage, profile: Profile, jobs: int) -> dict[str, Any]:
        there = self._tuned.limits.cpus.value
        usable = usable_cpus(self._kind, there, profile)
        return {
            # A main process that has no more of its CPU hands no more jobs out.
            "cpu": max(used.had / usable, used.main),
            "wanted": used.wanted / usable,
            "delayed": (used.wanted - used.had) / jobs,
            "floor": math.ceil(there),
        }

    def _memory(self, pids: Sequence[int], profile: Profile, jobs: int) -> dict[str, Any]:
        main, *children = [resident_of(pid) for pid in pids]
        used, uses = pool_size.memory_used(profile, main, children), list(limits.memory_in_use())
        return {
            "left": min((use.limit.value * (1 - pool_size.HEADROOM) - use.used for use in uses), default=math.inf),
            "full": max((use.used / use.limit.value for use in uses), default=0.0),
            "slot": pool_size.slot(self._kind, profile, used, jobs),
        }

    def _known(self, now: float) -> Profile:
        """Return what is known of the jobs; all that was seen is added up now and then only."""
        if now - self._asked_at >= TELL_EVERY:
            self._asked_at = now
            self._profile = profile_of(self._worker, self._tuned.profile.process) or self._tuned.profile
        return self._profile

    @property
    def _kind(self) -> str:
        # Whoever runs one job at a time is advised as if it could run more.
        return PREFORK if self._tuned.plan.kind == SOLO else self._tuned.plan.kind

    def _most(self, profile: Profile) -> tuple[int, str]:
        try:
            bound = pool_size.ceiling(
                self._tuned.limits, profile, dataclasses.replace(self._tuned.terms, chosen=self._kind)
            )
        except DoesNotFitError as exc:
            return 1, str(exc)
        return bound.allows or 1, str(bound)

    def _change(self, decision: autoscaling.Decision) -> None:
        pool, consumer, step = self._worker.pool, self._worker.consumer, int(math.copysign(1, decision.change))
        for _ in range(abs(decision.change)):
            try:
                (pool.grow if step > 0 else pool.shrink)(1)
            except ValueError:  # every child is just being given a job: at the next look
                break
            consumer._update_prefetch_count(step)
        self._recycle(int(pool.num_processes))
        self._worker.pulse.sized(int(pool.num_processes), decision.reason, advised=self._advised)

    def _recycle(self, size: int) -> None:
        """Let children that start from now on have their part of the memory among so many."""
        if self._kind == PREFORK and self._tuned.fills("max_memory_per_child"):
            terms = dataclasses.replace(self._tuned.terms, concurrency=size)
            plan = pool_size.plan(self._tuned.limits, self._profile, terms)
            self._worker.pool._pool._max_memory_per_child = plan.max_memory_per_child

    def _tell(self, reason: str) -> None:
        """Write a line about what has changed since the last one."""
        size, now = int(self._worker.pool.num_processes), time.monotonic()
        self._reason = reason or self._reason
        if size != self._told_size and now - self._told_at >= TELL_EVERY:
            logger.info("concurrency %d -> %d: %s", self._told_size, size, self._reason)
            self._told_size, self._told_at = size, now

    def _advice(self, now: autoscaling.Situation, decision: autoscaling.Decision) -> str:
        """Return what would serve the jobs that wait better than anything that this worker can do while it runs."""
        if decision.change > 0 and not resizing.can_resize(self._worker.pool):
            more = "more workers would help, or another kind of pool, as this one cannot grow (see celerykit tune)"
            return f"{decision.reason}: {more}"
        if not now.waiting:
            return ""
        terms = dataclasses.replace(self._tuned.terms, chosen="")
        kind, why = pool_size.kind_of_pool(self._tuned.limits, self._profile, terms)
        known = self._profile.jobs and kind != self._tuned.plan.kind
        return f"{why}: its next start has a pool of {kind} for that (see celerykit tune)" if known else ""

    def _advise(self, advice: str, now: autoscaling.Situation) -> None:
        """Say so, at once and then now and then."""
        if now.at - self._advised_at < ADVISE_EVERY or not (advice or self._advised):
            return
        self._advised, self._advised_at = bool(advice), now.at if advice else -math.inf
        if advice:
            logger.warning("%s", advice)
        self._worker.pulse.sized(int(self._worker.pool.num_processes), advice, advised=self._advised)


class Queues:
    """What waits in the queues of a worker, and how much of it the broker hands out ahead."""

    def __init__(self, worker: Any):
        self.waiting = 0
        """How many jobs waited at the last look, as far as it matters."""
        self._worker = worker
        self._consumer: Any = None
        self._subscribed = 0
        self._is_kept = False

    def look(self, taken: int) -> None:
        """Ask the broker where the answer matters: if all slots are taken.

        :param taken: how many jobs have been fetched and are not done.
        """
        consumer, size = self._worker.consumer, int(self._worker.pool.num_processes)
        if taken >= autoscaling.TAKEN * size and taken <= size:
            # Only the main thread may use its connection.
            consumer.call_soon(self._count)
        else:
            self.waiting = 0
        if consumer.task_consumer is not self._consumer and consumer.connection is not None:
            self._consumer, self._subscribed = consumer.task_consumer, consumer.qos.value
            self._is_kept = worker_loop.keeps_prefetch(consumer)
        # A consumer of a quorum queue has the prefetch that it began with. A new one gets as many jobs beside those of
        # the old, so only if these do not fill the slots.
        if self._is_kept and self._subscribed < consumer.qos.value and taken < size:
            consumer.call_soon(self._subscribe)

    def _count(self) -> None:
        consumer = self._worker.consumer
        connection = consumer.connection
        if connection is None or not connection.connected:
            return
        names = list(consumer.app.amqp.queues.consume_from)
        try:
            channel = consumer.task_consumer.channel
            # Kombu asks for each queue on its own, which takes seconds where there are thousands.
            self.waiting = channel.count(names) if hasattr(channel, "count") else _size_of(connection, names)
        except (*connection.connection_errors, *connection.channel_errors, NotImplementedError):  # nothing is counted
            self.waiting = 0  # whoever reads from the broker next notices that it is gone; others keep no count

    def _subscribe(self) -> None:
        consumer = self._worker.consumer
        if consumer.task_consumer is None or consumer.task_consumer is not self._consumer:
            return
        consumer.qos.update()
        consumer.task_consumer.cancel()
        consumer.task_consumer.consume()
        self._subscribed = consumer.qos.value


def usable_cpus(pool: str, there: float, profile: Profile) -> float:
    """Return how many CPUs one worker can use: threads and greenlets those that one interpreter does."""
    if pool == THREADS or pool in GREEN_POOLS:
        return min(there, max(1.0, profile.parallel))
    return there


def _size_of(connection: Any, names: Sequence[str]) -> int:
    """Return how many jobs wait in queues."""
    if connection.transport.driver_type != "amqp":
        channel = connection.default_channel
        return sum(channel._size(name) for name in names)
    # A queue that is gone costs the channel.
    with connection.channel() as channel:
        return sum(channel.queue_declare(queue=name, passive=True).message_count for name in names)
