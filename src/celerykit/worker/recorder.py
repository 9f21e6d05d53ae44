"""Sees what a worker's jobs do while it serves, and keeps it for the next start."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter, defaultdict, deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from celery import bootsteps
from celery.worker import state

from celerykit.config import settings
from celerykit.config.environment import DEFAULT_POOL
from celerykit.errors import ConfigurationError
from celerykit.messages import enqueue_time
from celerykit.sizing import history, meters, tally
from celerykit.sizing.tally import Seen, Tally
from celerykit.worker import resizing

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

LOOK_EVERY = 1.0
KEEP_EVERY = 60.0
CLOSER_EVERY = 10
"""Looks, of which one is a closer one."""
GENERATION = 3600.0
"""Seconds after which what was seen before the last so many is forgotten: jobs change."""
MOST_A_LOOK = 500
"""Jobs from one look to the next that are looked at, which costs 5 microseconds each; more of them tell nothing new."""


class Generation:
    """What was seen in one stretch of time."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.tasks: defaultdict[str, Tally] = defaultdict(Tally)
        self.growth: float | None = None
        self.full_seconds = 0.0
        self.full_cpu = 0.0
        self.parallel = 1.0
        self.delay = 0.0
        self.child: float | None = None


class Records(bootsteps.StartStopStep):  # type: ignore[misc]
    """Looks at each job's beginning and end from the worker's own process, and once a second at its processes."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any):
        super().__init__(worker, **options)
        self._pool_name = os.environ.get(settings.POOL) or DEFAULT_POOL
        self._target = history.path(os.environ, self._pool_name)
        self._ended: deque[Seen] = deque()
        self._left = MOST_A_LOOK
        self._generations = [Generation()]
        self._growth = meters.Growth()
        self._looks = 0
        self._unshared = 0.0
        self._kept = self._looked = time.monotonic()
        self._cpu = self._delay = 0.0
        self._was_full = False

    def include_if(self, worker: Any) -> bool:
        """Not where nobody wants a worker to be tuned."""
        return settings.from_environment(os.environ).tune != settings.OFF

    def create(self, worker: Any) -> None:
        """Look at whatever is handed to the pool, before anything is."""
        self._worker = worker
        self._has_children = _is_prefork(worker.pool_cls)
        self._meter = _meter(worker, has_children=self._has_children)
        worker.pool.apply_async = self._watched(worker.pool.apply_async)

    def start(self, worker: Any) -> None:
        """Begin to look."""
        self._looked = time.monotonic()
        self._cpu, self._delay = self._used()
        worker.timer.call_repeatedly(LOOK_EVERY, self.look)

    def stop(self, worker: Any) -> None:
        """Keep what was seen."""
        self.look()
        self.keep()

    terminate = stop

    def look(self) -> None:
        """Take in what has ended since the last look, and look at the processes."""
        now = time.monotonic()
        if now - self._generations[-1].began > GENERATION:
            self._generations = [self._generations[-1], Generation()]
        generation = self._generations[-1]
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        tally.by_task(ended, generation.tasks)
        self._look_at_cpus(generation, ended, now - self._looked)
        self._look_at_memory(generation)
        self._looked = now
        if self._left <= 0:
            self._meter.forget()
        self._left = MOST_A_LOOK
        if now - self._kept >= KEEP_EVERY:
            self.keep()

    def record(self) -> history.Record | None:
        """Return what was seen within the last hour or two, None if nothing was."""
        seen = self._generations
        tasks = tally.joined(*(generation.tasks for generation in seen))
        if not tasks:
            return None
        everything = tally.all_of(tasks)
        for generation in seen:
            everything.grown(generation.growth)
        full = sum(generation.full_seconds for generation in seen)
        children = [generation.child for generation in seen if generation.child is not None]
        return history.Record(
            app=os.environ.get("CELERY_APP") or str(self._worker.app.main),
            pool=_kind(self._worker),
            written=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            seconds=time.monotonic() - seen[0].began,
            concurrency=int(self._worker.pool.num_processes),
            used=sum(generation.full_cpu for generation in seen) / full if full else None,
            parallel=max(generation.parallel for generation in seen),
            child=max(children, default=None),
            all=everything.summary(sum(generation.delay for generation in seen)),
            tasks={name: found.summary() for name, found in tasks.items()},
        )

    def keep(self) -> None:
        """Write it down for the next start; of a few jobs their memory alone, beside what was seen of more."""
        self._kept = time.monotonic()
        record = self.record()
        if record is not None and not record.is_enough:
            with contextlib.suppress(ConfigurationError):  # it is of another app, which the start has said
                kept = history.read(self._target, record.app)
                record = kept and kept.with_memory_of(record)
        if record is None:
            return
        # A container without a volume has nothing to keep it in, and learns anew at each start.
        with contextlib.suppress(OSError):
            history.write(self._target, record)

    def _watched(self, apply_async: Callable[..., Any]) -> Callable[..., Any]:
        """Return what hands a job to the pool, with a look at its beginning and its end.

        Celery calls ``on_accepted`` and ``on_success`` of a request; a class of requests of an app's own has them, too.
        """

        def watched(target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            accepted, done = options.get("accept_callback"), options.get("callback")
            if self._left <= 0 or not (accepted and done and args):
                return apply_async(target, args, kwargs, **options)
            self._left -= 1
            began: list[Any] = []

            def on_accepted(pid: int, when: float) -> Any:
                began[:] = pid, when, self._begin(pid), enqueue_time.ago(args[2])
                return accepted(pid, when)

            def on_done(result: Any) -> Any:
                if began:
                    self._end(args[0], began, result)
                return done(result)

            return apply_async(target, args, kwargs, **{**options, "accept_callback": on_accepted, "callback": on_done})

        return watched

    def _begin(self, pid: int) -> Any:
        if self._has_children and not self._growth.has_seen(pid):
            self._growth.look(pid)
        return self._meter.begin(pid)

    def _end(self, task: str, began: list[Any], result: Any) -> None:
        pid, when, mark, queued = began
        cpu = self._meter.end(mark)
        # Celery's own measurement is the job's alone; it has none of a job that failed.
        told = result[2] if isinstance(result, tuple) and len(result) == 3 else None
        wall = told if isinstance(told, float) else time.monotonic() - when
        growth = self._growth.look(pid) if self._has_children and wall >= meters.LOOK_FROM else None
        self._ended.append(Seen(task, wall, cpu, growth, queued))

    def _look_at_cpus(self, generation: Generation, ended: list[Seen], elapsed: float) -> None:
        """Note what all jobs together used, which says whether more of them at once would get more done."""
        used, delayed = self._used()
        # A process that has ended takes its share along.
        spent, self._cpu = max(0.0, used - self._cpu), used
        generation.delay += max(0.0, delayed - self._delay)
        self._delay = delayed
        if self._worker.pool.is_green:
            self._share(generation, ended, spent)
        is_full = len(state.active_requests) >= int(self._worker.pool.num_processes)
        if is_full and self._was_full:
            generation.full_seconds += elapsed
            generation.full_cpu += spent
        if not self._has_children and elapsed >= LOOK_EVERY / 2:
            generation.parallel = max(generation.parallel, spent / elapsed)
        self._was_full = is_full

    def _share(self, generation: Generation, ended: list[Seen], spent: float) -> None:
        self._unshared += spent
        if not ended:
            return
        for task, jobs in Counter(job.task for job in ended).items():
            generation.tasks[task].share(self._unshared * jobs / len(ended))
        self._unshared = 0.0

    def _used(self) -> tuple[float, float]:
        """Return the CPU seconds that the worker's processes have used, and those for which their jobs waited."""
        children = resizing.children(self._worker.pool)
        used = time.process_time()
        for pid in children:
            with contextlib.suppress(OSError):  # it has ended since
                used += meters.cpu_of(pid)
        return used, sum(map(meters.delay, children or [os.getpid()]))

    def _look_at_memory(self, generation: Generation) -> None:
        """Note by how much processes have grown, whatever ran in them."""
        pids = resizing.children(self._worker.pool) or [os.getpid()]
        jobs = 1 if self._has_children else max(1, len(state.active_requests))
        for pid in pids:
            growth = self._growth.look(pid)
            if growth is not None:
                generation.growth = max(growth / jobs, generation.growth or 0.0)
        self._growth.forget_all_but(pids)
        if self._has_children:
            self._meter.forget_all_but(pids)
            self._look_at_child(generation, pids)

    def _look_at_child(self, generation: Generation, pids: list[int]) -> None:
        """Look now and then at what one of the children does not share: the kernel goes through all its pages."""
        self._looks += 1
        if not pids or self._looks % CLOSER_EVERY != 1:  # the first time at once: a worker may not live for long
            return
        pid = pids[self._looks // CLOSER_EVERY % len(pids)]
        with contextlib.suppress(OSError):  # it has ended since
            own = meters.private(pid) - self._growth.since_first(pid)
            generation.child = max(own, generation.child or 0.0)


def _is_prefork(pool_class: type) -> bool:
    return any(base.__module__ == "celery.concurrency.prefork" for base in pool_class.__mro__)


def _meter(worker: Any, *, has_children: bool) -> meters.Meter:
    if has_children:
        return meters.OfChildren()
    # Greenlets share a thread: theirs is the process's, shared among what ended meanwhile.
    return meters.Meter() if worker.pool.is_green else meters.OfThreads()


def _kind(worker: Any) -> str:
    return os.environ.get("CELERY_WORKER_POOL") or worker.pool_cls.__module__.rpartition(".")[2]
