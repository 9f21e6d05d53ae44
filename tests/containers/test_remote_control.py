"""What operators tell running workers has the effect that Celery's manual says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.containers import Rig


def test_a_paused_queue_keeps_its_jobs(stack: Rig) -> None:
    """After `cancel_consumer` what runs ends and nothing else begins, until `add_consumer`."""
    stack.worker()
    control = stack.client.app.control
    stack.client.work(2, 3.0)
    stack.ledger.wait_running(2)
    assert control.cancel_consumer("celery", reply=True, timeout=10)
    waiting = stack.client.work(3, 0.1)
    until(lambda: len(stack.ledger.account().done) == 2, 30, "the end of what ran")
    time.sleep(3)
    assert not set(waiting) & set(stack.ledger.account().starts)
    assert stack.client.queued() == 3
    assert control.add_consumer("celery", reply=True, timeout=10)
    stack.assert_nothing_lost()


def test_a_pool_that_grows_takes_more_jobs(stack: Rig) -> None:
    """Two slots more are two jobs more at once, fetched beside those that run."""
    stack.worker(CELERY_WORKER_PREFETCH_MULTIPLIER=1)
    stack.client.work(6, 6.0)
    stack.ledger.wait_running(2)
    assert stack.client.app.control.pool_grow(2, reply=True, timeout=10, limit=1)
    stack.ledger.wait_running(4)
    stack.assert_nothing_lost()


def test_what_runs_and_what_waits_can_be_looked_at(stack: Rig) -> None:
    """`celery inspect` names the jobs that run and those that are prefetched, and the broker has the rest."""
    stack.worker("threads", CELERY_WORKER_PREFETCH_MULTIPLIER=2)
    jobs = stack.client.work(6, 5.0)
    stack.ledger.wait_running(2)
    inspect = stack.client.app.control.inspect(timeout=10, limit=1)
    until(lambda: stack.client.unacknowledged() == 4, 10, "four fetched jobs", pause=0.05)
    (active,), (reserved,) = inspect.active().values(), inspect.reserved().values()
    assert {job["id"] for job in active} == {*jobs[:2]}
    assert {job["id"] for job in reserved} == {*jobs[2:4]}
    assert stack.client.queued() == 2
    stack.assert_nothing_lost()


def test_an_app_without_prefetching_has_only_what_runs(stack: Rig) -> None:
    """With `worker_disable_prefetch` every job that nobody runs is in its queue, for other workers to take."""
    stack.worker("threads", "unprefetched", CELERY_WORKER_PREFETCH_MULTIPLIER=4)
    stack.client.work(6, 4.0)
    stack.ledger.wait_running(2)
    time.sleep(1)
    assert (stack.client.unacknowledged(), stack.client.queued()) == (2, 4)
    stack.assert_nothing_lost()
