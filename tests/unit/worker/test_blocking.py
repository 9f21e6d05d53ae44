"""What is told of a job whose pool child dies where the worker has no event loop."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from billiard.exceptions import WorkerLostError

from celerykit.worker.blocking import BlockingPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def pools() -> Iterator[Callable[..., BlockingPool]]:
    """Return a function that starts a pool as Celery does, which ends with the test."""
    started: list[BlockingPool] = []

    def start(**options: Any) -> BlockingPool:
        started.append(BlockingPool(processes=2, threads=True, **{"lost_worker_timeout": 1.0, **options}))
        return started[-1]

    yield start
    for pool in started:
        pool.terminate()
        pool.join()


def die() -> None:
    """End the child that runs this."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_later() -> str:
    """End the child soon after this."""
    threading.Timer(0.5, die).start()
    return "done"


def submit(pool: BlockingPool, function: Callable[..., Any], *args: Any) -> queue.Queue[Any]:
    """Have a function called in the pool, and return where its result or exception comes."""
    outcomes: queue.Queue[Any] = queue.Queue()
    pool.apply_async(
        function, args, callback=outcomes.put, error_callback=lambda info: outcomes.put(info.exception.exc)
    )
    return outcomes


def keep_busy(pool: BlockingPool, seconds: float) -> None:
    """Keep the pool from reading any result for a while, as a broker does that takes acknowledgements slowly."""
    began = threading.Event()
    pool.apply_async(int, callback=lambda _: (began.set(), time.sleep(seconds)))
    assert began.wait(20)


def test_a_dead_child_is_told_before_its_jobs_time_limit(pools: Callable[..., BlockingPool]) -> None:
    """The job is delivered again; by its time limit it would have failed for good."""
    assert isinstance(submit(pools(timeout=6.0, lost_worker_timeout=7.0), die).get(timeout=20), WorkerLostError)


def test_a_child_that_dies_unheard_is_told_all_the_same(pools: Callable[..., BlockingPool]) -> None:
    """Its word that it has the job is read after its death."""
    pool = pools()
    keep_busy(pool, 1.5)
    assert isinstance(submit(pool, die).get(timeout=20), WorkerLostError)


def test_a_result_that_waits_to_be_read_is_no_loss(pools: Callable[..., BlockingPool]) -> None:
    """The child has died after its job, and nobody had the time to read what came of it."""
    pool = pools()
    result = submit(pool, die_later)
    keep_busy(pool, 4.0)
    assert result.get(timeout=20) == "done"
