"""The pool of threads that changes its size."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import pytest

from celerykit.worker.threads import TaskPool, Threads
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Jobs:
    """Jobs that run until they may end, and the pool that runs them."""

    def __init__(self, size: int):
        self.pool = Threads(size)
        self.running = 0
        self.done = 0
        self._lock = threading.Lock()
        self._ends = threading.Semaphore(0)

    def submit(self, number: int) -> None:
        """Have so many jobs more."""
        for _ in range(number):
            self.pool.submit(self._run)

    def end(self, number: int) -> None:
        """Let so many of them end, and wait for that."""
        done = self.done
        self._ends.release(number)
        until(lambda: self.done == done + number, 10, lambda: f"{number} jobs end, {self.done - done} did", pause=0.001)

    def settle(self, number: int) -> None:
        """Wait until so many jobs run."""
        until(lambda: self.running == number, 10, lambda: f"{number} jobs run, {self.running} do", pause=0.001)

    def _run(self) -> None:
        with self._lock:
            self.running += 1
        self._ends.acquire()
        with self._lock:
            self.running -= 1
            self.done += 1


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    """Return a pool of two with six jobs, of which two run."""
    one = Jobs(2)
    one.submit(6)
    one.settle(2)
    yield one
    one._ends.release(100)
    one.pool.shutdown()


def test_a_larger_pool_begins_what_waits(jobs: Jobs) -> None:
    """At once, without waiting for the end of what runs."""
    jobs.pool.resize(5)
    jobs.settle(5)
    jobs.end(5)
    jobs.settle(1)


def test_a_smaller_pool_ends_nothing_and_begins_less(jobs: Jobs) -> None:
    """What runs goes on; the next job begins when there is a slot for it in the smaller pool."""
    jobs.pool.resize(4)
    jobs.settle(4)
    jobs.pool.resize(1)
    assert jobs.running == 4
    for left in (3, 2):
        jobs.end(1)
        jobs.settle(left)
        assert jobs.done == 4 - left
    jobs.end(2)
    jobs.settle(1)
    jobs.end(2)
    assert jobs.done == 6


def test_idle_threads_of_a_pool_that_became_too_large_end(jobs: Jobs) -> None:
    """Their memory is given back."""
    jobs.pool.resize(4)
    jobs.settle(4)
    jobs.end(4)
    jobs.settle(2)
    jobs.end(2)
    jobs.pool.resize(1)
    until(lambda: len(jobs.pool._threads) == 1, 10, lambda: f"one thread: {jobs.pool._threads}")


def test_a_shutdown_waits_for_what_runs_and_drops_what_does_not(jobs: Jobs) -> None:
    """As Celery's warm stop expects: the broker has what was not begun."""
    waiting = jobs.pool.submit(jobs._run)
    stopper = threading.Thread(target=jobs.pool.shutdown, kwargs={"cancel_futures": True})
    stopper.start()
    until(waiting.cancelled, 10, "the end of what waited")
    assert stopper.is_alive()
    jobs.end(2)
    stopper.join(10)
    assert not stopper.is_alive() and jobs.done == 2
    with pytest.raises(CancelledError):
        waiting.result()
    with pytest.raises(RuntimeError, match="shut down"):
        jobs.submit(1)


def test_what_a_job_raises_is_its_result() -> None:
    """And the thread goes on with the next one."""
    pool = Threads(1)
    failed, well = pool.submit(int, "x"), pool.submit(int, "1")
    assert isinstance(failed.exception(10), ValueError)
    assert well.result(10) == 1
    pool.shutdown()


def test_celery_s_pool_says_its_size() -> None:
    """To `inspect stats`, and to the prefetch; it never shrinks to nothing."""
    pool = TaskPool(limit=4)
    pool.grow(2)
    assert (pool.num_processes, pool.info["max-concurrency"], pool.info["threads"]) == (6, 6, 0)
    pool.shrink(9)
    assert pool.num_processes == 1
    done = threading.Event()
    pool.on_apply(lambda: "result", (), callback=lambda _: done.set()).wait(10)
    assert done.is_set() and pool.info["threads"] == 1
    pool.stop()
