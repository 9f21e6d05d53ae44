"""Changing the size of a pool while it works, without interrupting a job.

Celery shrinks its prefork pool by killing a child that has no job, as far as it knows: one that has been given a job,
and has not said so yet, is killed with it. Here a child is told to leave, as all are when the worker stops, and does so
after the job that it has.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

import billiard.pool
from celery.concurrency.asynpool import AsynPool
from celery.worker import state

from celerykit.sizing.cpu_usage import resident_of
from celerykit.worker import threads

if TYPE_CHECKING:
    from collections.abc import Callable


def install(worker: Any) -> None:
    """Give the worker's pool ``grow`` and ``shrink`` that interrupt nothing; remote control uses them, too."""
    pool, inner = worker.pool, worker.pool._pool
    if isinstance(inner, AsynPool):
        grow, shrink = _grow_on_loop, _retire
    elif isinstance(inner, billiard.pool.Pool):
        grow, shrink = _grow_blocking, _retire_any
    elif isinstance(pool, threads.TaskPool) and worker.hub is not None:
        grow, shrink = _more_threads, _fewer_threads
    else:
        return
    pool.grow = functools.partial(_repeat, grow, worker)
    pool.shrink = functools.partial(_repeat, shrink, worker)


def can_resize(pool: Any) -> bool:
    """Say whether the pool can change its size."""
    return hasattr(pool, "grow")


def children(pool: Any) -> list[int]:
    """Return the process ids of the pool's children, none where it has no processes."""
    return [child.pid for child in tuple(getattr(pool._pool, "_pool", ())) if getattr(child, "pid", None)]


def leaving(pool: Any) -> int:
    """Return how many jobs run that the pool has no slot for any more, or children are about to leave."""
    if isinstance(pool._pool, billiard.pool.Pool):
        return max(0, len(pool._pool._pool) - int(pool.num_processes))
    return max(0, len(state.active_requests) - int(pool.num_processes))


def _repeat(change: Callable[[Any], None], worker: Any, n: int = 1) -> None:
    for _ in range(n):
        change(worker)


def _grow_on_loop(worker: Any) -> None:
    inner = worker.pool._pool
    inner._processes += 1
    inner.on_grow(1)
    inner.maintain_pool()  # else at the loop's next look at its children, within 5 s
    _add_slot(worker.semaphore)
    worker.pool.limit = inner._processes


def _retire(worker: Any) -> None:
    """Have one child leave.

    :raises ValueError: if it is the last, or none can be told at the moment.
    """
    inner = worker.pool._pool
    _refuse_the_last(inner._processes)
    child = _dispensable(inner)
    inner._processes -= 1
    inner.on_inqueue_close(child.inqW_fd, child)  # it is given nothing more
    worker.hub.remove_writer(child.inqW_fd)
    child.inq.put(None)
    _take_slot(worker.semaphore)
    worker.pool.limit = inner._processes


def _dispensable(inner: Any) -> Any:
    """Return the largest child without a job, else the largest of those that have begun theirs."""
    known = [child for child in inner._pool if child.inqW_fd in inner._all_inqueues - inner._active_writes]
    given = [(job, (job._write_to, job._scheduled_for)) for job in inner._cache.values()]
    jobs = {child: [job for job, to in given if child in to] for child in known}
    # What a child has not begun may still be in its pipe, where a word more might not fit.
    ready = [child for child in known if all(job._accepted for job in jobs[child])]
    if not ready:
        raise ValueError("no child can be told to leave at the moment")
    return max(ready, key=lambda child: (not jobs[child], resident_of(child.pid)))


def _grow_blocking(worker: Any) -> None:
    worker.pool._pool.grow(1)
    worker.pool.limit = worker.pool.num_processes


def _retire_any(worker: Any) -> None:
    """Have the child leave that reads it first: all read from one pipe."""
    inner = worker.pool._pool
    _refuse_the_last(inner._processes)
    inner._processes -= 1
    inner._taskqueue.put(([None], None))
    if inner._putlock is not None:
        # It waits until a slot is free.
        threading.Thread(target=inner._putlock.shrink, daemon=True).start()
    worker.pool.limit = inner._processes


def _more_threads(worker: Any) -> None:
    threads.TaskPool.grow(worker.pool)
    _add_slot(worker.semaphore)  # which at-most-once delivery counts them by


def _fewer_threads(worker: Any) -> None:
    _refuse_the_last(worker.pool.limit)
    threads.TaskPool.shrink(worker.pool)
    _take_slot(worker.semaphore)


def _refuse_the_last(size: int) -> None:
    if size <= 1:
        raise ValueError("a pool of one does not shrink")


def _add_slot(semaphore: Any) -> None:
    """Let one job more into the pool; the semaphore's own ``grow`` lets in two."""
    semaphore.initial_value += 1
    semaphore.release()


def _take_slot(semaphore: Any) -> None:
    """Let one job less into the pool, from the next end of one on if all slots are taken."""
    semaphore.initial_value -= 1
    if semaphore.value > 0:
        semaphore.value -= 1
    else:
        semaphore._waiting.appendleft((lambda: None, (), {}))  # before the jobs that wait
