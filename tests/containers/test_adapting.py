"""A worker changes its concurrency while it runs, and no job notices."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.inspection import UNSAID, inspect, slots
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.containers import Rig
    from tests.rig.process import Process

OWN = {**UNSAID, "CELERYKIT_STATE_DIR": "/tmp/state"}


def wait_slots(worker: Process, number: int, seconds: float = 60) -> None:
    """Wait until the worker runs at least so many jobs at once."""
    until(lambda: slots(worker)["default"] >= number, seconds, lambda: f"{number} slots:\n{worker.logs[-2000:]}")


def wait_advised(worker: Process) -> None:
    """Wait until the worker's metrics say that another start would serve its jobs better; it says so once a second."""
    advised = 'celerykit_worker_restart_advised{pool="default"} 1.0'
    until(lambda: advised in worker.sh("celerykit status --format prometheus"), 10, advised)


def assert_each_ran_once(stack: Rig) -> None:
    """Assert that every job has run to its end, and none began twice."""
    stack.assert_nothing_lost()
    assert not stack.ledger.account().started_twice


@pytest.mark.parametrize(("pool", "first", "ahead"), [("prefork", 2, 1), ("threads", 10, 1), ("gevent", 50, 4)])
def test_a_worker_grows_while_jobs_wait_for_it(stack: Rig, pool: str, first: int, ahead: int) -> None:
    """With what it fetches, into `inspect stats`, `celerykit status` and the log; and each job runs once."""
    worker = stack.worker(pool, **OWN, cpuset_cpus="0,1")
    stack.client.work(30 * first, 1.0)  # half a minute's work, so that a busy machine has the time
    wait_slots(worker, 2 * first)
    assert f"concurrency {first} -> " in worker.logs
    assert re.search(r"concurrency \d+ \(\d+ jobs? waits?, \d+ % of the CPUs are used\)", worker.sh("celerykit status"))
    assert_each_ran_once(stack)
    stats: dict[str, Any] = inspect(worker, "stats")["default"]
    assert stats["prefetch_count"] == ahead * stats["pool"]["max-concurrency"]
    assert worker.stop() < 30


def test_a_worker_shrinks_before_its_memory_is_used_up(stack: Rig) -> None:
    """Jobs that become larger leave room for fewer at once: neither the worker nor a child is ever killed."""
    worker = stack.worker(**OWN, cpuset_cpus="0,1", mem_limit="512m", memswap_limit="512m")
    for _ in range(30):
        stack.client.submit("jobs.hold", 1, 1.0)  # they wait until a worker of three has grown once more
    wait_slots(worker, 4)
    most = slots(worker)["default"]
    for megabytes in range(25, 75):
        stack.client.submit("jobs.hold", megabytes, 1.0)
    worker.wait_log("% of the memory are used", 60)
    assert slots(worker)["default"] < most
    assert_each_ran_once(stack)
    assert not worker.state["OOMKilled"]
    assert "signal 9" not in worker.logs


def test_the_first_jobs_may_be_large(stack: Rig) -> None:
    """Two of 200 MB do not fit into 512 MB: before anything is known of them, they run one at a time."""
    worker = stack.worker(**OWN, cpuset_cpus="0,1", mem_limit="512m", memswap_limit="512m")
    for _ in range(8):
        stack.client.submit("jobs.hold", 200, 1.0)
    assert_each_ran_once(stack)
    assert "signal 9" not in worker.logs
    assert slots(worker) == {"default": 1}


def test_a_worker_that_cannot_grow_says_that_more_of_them_would_help(stack: Rig) -> None:
    """One of the solo pool runs one job at a time: the log and the status say so while others wait."""
    worker = stack.worker("solo", **OWN, cpuset_cpus="0,1")
    stack.client.work(12, 1.0)
    worker.wait_log("more workers would help, or another kind of pool, as this one cannot grow", 30)
    assert "more workers would help" in worker.sh("celerykit status")
    wait_advised(worker)
    assert_each_ran_once(stack)


def test_a_worker_whose_jobs_want_another_kind_of_pool_says_so(stack: Rig) -> None:
    """Its app allows threads, and its jobs turn out to wait: processes are only as many as have room in memory."""
    own = {**OWN, "CELERY_WORKER_POOL": "UNSET", "CELERYKIT_POOL_KINDS": "threads,prefork"}
    worker = stack.worker(**own, cpuset_cpus="0,1", mem_limit="512m")
    stack.client.work(400, 0.3)
    worker.wait_log("of their time: its next start has a pool of threads for that", 60)
    wait_advised(worker)
    assert_each_ran_once(stack)


def test_what_the_operator_says_is_not_adapted(stack: Rig) -> None:
    """A concurrency that somebody insists on stays, whatever waits."""
    worker = stack.worker(CELERY_WORKER_CONCURRENCY=2)
    stack.client.work(8, 1.0)
    assert_each_ran_once(stack)
    assert slots(worker) == {"default": 2}
    assert "->" not in worker.logs


def running_at_starts(stack: Rig, begin: float, end: float) -> list[int]:
    """Return how many jobs ran when one began, for each that began between two points in time."""
    entries = sorted(stack.ledger.entries(), key=lambda entry: entry.at)
    running, counts = 0, []
    for entry in entries:
        running += {"start": 1, "done": -1}.get(entry.kind, 0)
        if entry.kind == "start" and begin < entry.at < end:
            counts.append(running)
    return counts


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_shrinking_interrupts_no_job(stack: Rig, pool: str) -> None:
    """All slots are taken when the pool shrinks: what runs goes on, and from then on fewer jobs begin."""
    worker = stack.worker(pool, CELERY_WORKER_CONCURRENCY=6, CELERYKIT_DELIVERY="at-most-once")
    stack.client.work(24, 1.0)
    stack.ledger.wait_running(6)
    assert stack.client.app.control.pool_shrink(4, reply=True, timeout=10, limit=1)
    shrank = time.time()
    until(lambda: len(stack.ledger.account().done) >= 10, 30, "the end of the first ten")
    counts = running_at_starts(stack, shrank, time.time())
    assert counts and max(counts) <= 2
    assert stack.client.app.control.pool_grow(2, reply=True, timeout=10, limit=1)
    stack.ledger.wait_running(4)
    assert_each_ran_once(stack)
    assert slots(worker) == {"default": 4}
