"""However a job ends, its worker goes on; however early a worker is stopped, it stops."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import chord

from tests.rig.containers import POOLS
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.containers import Rig

WAYS = [
    "memory",
    "exit",
    "interrupt",
    "generator_exit",
    "cancelled",
    "final",
    "recursion",
    "unpicklable",
    "speechless",
    "unserializable",
    "sys.exit",
]


@pytest.mark.parametrize("pool", POOLS)
def test_whatever_a_job_raises_is_its_result(stack: Rig, pool: str) -> None:
    """It is FAILURE once, nothing is left of it, and the worker is the same one and takes the next job."""
    worker = stack.worker(pool, "endings", restart=True)
    before = worker.state["StartedAt"]
    app = stack.client.app
    jobs = {way: app.send_task("jobs.ends", [way]) for way in WAYS}
    until(
        lambda: all(job.ready() for job in jobs.values()),
        90,
        lambda: f"{[way for way, job in jobs.items() if not job.ready()]}\n{worker.logs[-3000:]}",
    )
    assert {way for way, job in jobs.items() if job.state != "FAILURE"} == set()
    starts = Counter(entry.job for entry in stack.ledger.entries() if entry.kind == "start")
    assert {way: starts[job.id] for way, job in jobs.items()} == dict.fromkeys(WAYS, 1)
    stack.client.work(1, 0.1)
    until(lambda: not stack.ledger.account().lost, 30, lambda: worker.logs[-3000:])
    until(lambda: stack.client.queued() + stack.client.unacknowledged() == 0, 30, "an empty broker")
    assert not stack.client.dead_letters()
    assert worker.state["StartedAt"] == before


def test_a_task_with_requests_of_its_own_is_bounded_too(stack: Rig) -> None:
    """Its class is used, and what it does not override is the kit's: a job that always kills its child has an end."""
    worker = stack.worker(app="endings", CELERYKIT_MAX_DELIVERIES=2)
    job = stack.client.app.send_task("jobs.dies")
    until(job.ready, 60, lambda: worker.logs[-3000:])
    kinds = Counter(entry.kind for entry in stack.ledger.entries() if entry.job == job.id)
    assert (kinds["start"], kinds["own"], job.state) == (2, 2, "FAILURE")
    assert len(stack.client.dead_letters()) == 1


def test_whoever_waits_for_a_job_is_told_once_that_it_failed(stack: Rig) -> None:
    """Beyond its hard limit, though the pool tells of that twice; of a task that nobody knows, as a part of a chord."""
    worker = stack.worker(app="endings")
    app = stack.client.app
    told = app.signature("jobs.told")
    body = app.signature("jobs.body", link_error=[told])
    unknown = chord([app.signature("jobs.unheard_of"), app.signature("jobs.work", (0.1,))], body, app=app)()
    overdue = app.signature("jobs.overdue", link_error=[told]).apply_async(time_limit=1)
    until(lambda: unknown.ready() and overdue.ready(), 30, lambda: worker.logs[-3000:])
    assert (unknown.state, overdue.state) == ("FAILURE", "FAILURE")
    until(lambda: {unknown.id, overdue.id} <= set(_kinds(stack, "told")), 30, lambda: worker.logs[-3000:])
    stack.client.work(1, 0.1)
    until(lambda: not stack.ledger.account().lost, 30, lambda: worker.logs[-3000:])
    assert _kinds(stack, "told") == {unknown.id: 1, overdue.id: 1}


@pytest.mark.parametrize(
    ("pool", "signals"), [("prefork", ["SIGTERM", "SIGKILL", "SIGQUIT", "SIGHUP"]), ("gevent", ["SIGTERM"])]
)
def test_a_job_that_is_revoked_with_terminate_ends(stack: Rig, pool: str, signals: list[str]) -> None:
    """At once, by any signal that ends one in Celery; its slot is free, and it does not run again."""
    worker = stack.worker(pool, restart=True, CELERY_WORKER_CONCURRENCY=1, CELERY_WORKER_PREFETCH_MULTIPLIER=4)
    before = worker.state["StartedAt"]
    control = stack.client.app.control
    ended = []
    for signal in signals:
        job = stack.client.app.send_task("jobs.work", [40])
        until(lambda job=job: job.id in _kinds(stack, "start"), 30, lambda: worker.logs[-3000:])
        control.revoke(job.id, terminate=True, signal=signal)
        (other,) = stack.client.work(1, 0.1)
        until(lambda other=other: other in _kinds(stack, "done"), 35, lambda: worker.logs[-3000:])
        ended.append(job)
    assert {job.state for job in ended} == {"REVOKED"}
    until(lambda: stack.client.queued() + stack.client.unacknowledged() == 0, 30, "an empty broker")
    starts, done = _kinds(stack, "start"), _kinds(stack, "done")
    assert [(starts[job.id], done[job.id]) for job in ended] == [(1, 0)] * len(ended)
    assert not stack.client.dead_letters()
    assert worker.state["StartedAt"] == before


def test_threads_say_that_they_end_no_job(stack: Rig) -> None:
    """Whoever revokes it with `terminate` is told so, and the worker goes on."""
    stack.worker("threads")
    (job,) = stack.client.work(1, 5)
    until(lambda: job in _kinds(stack, "start"), 30, "a running job")
    (answer,) = stack.client.app.control.revoke(job, terminate=True, reply=True, timeout=3)
    assert "cannot end a running job" in next(iter(answer.values()))["error"]
    stack.client.work(1, 0.1)
    until(lambda: not stack.ledger.account().lost, 30, "both jobs are done")


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_celery_s_soft_shutdown_is_kept(stack: Rig, pool: str) -> None:
    """A QUIT lets jobs end for as long as the app says, and gives the others back; the log says why."""
    worker = stack.worker(pool, "softly")
    (short,) = stack.client.work(1, 2)
    stack.client.work(1, 9)
    until(lambda: len(_kinds(stack, "start")) == 2, 30, "both jobs run")
    worker.signal("SIGQUIT")
    assert worker.wait_exit(20) == 0, worker.logs
    assert set(_kinds(stack, "done")) == {short}
    assert stack.client.queued() == 1
    assert "worker_soft_shutdown_timeout of 4 s is over: gave back 1 jobs" in worker.logs
    assert "stop budget" not in worker.logs
    assert "worker_enable_soft_shutdown_on_idle=True of the app" in worker.logs


def test_celery_s_retry_of_a_lost_job_is_kept(stack: Rig) -> None:
    """An app that sets `task_retry_on_worker_lost` has as many starts as it allows retries, and Celery's result."""
    worker = stack.worker(app="softly")
    job = stack.client.app.send_task("jobs.dies")
    until(job.ready, 60, lambda: worker.logs[-3000:])
    assert (_kinds(stack, "start")[job.id], job.state, type(job.result).__name__) == (2, "FAILURE", "WorkerLostError")
    assert not stack.client.dead_letters()


def _kinds(stack: Rig, kind: str) -> Counter[str]:
    return Counter(entry.job for entry in stack.ledger.entries() if entry.kind == kind)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3, 0.6, 1.0, 1.6])
def test_a_worker_is_stopped_however_early(stack: Rig, seconds: float) -> None:
    """While Python starts, while the app is imported, before there is a pool: it ends, and with no error."""
    worker = stack.worker(ready=False)
    program = Path(f"/proc/{worker.state['Pid']}/cmdline")
    until(lambda: b"python" in program.read_bytes(), 30, "Python", pause=0.01)  # not the engine's own program
    time.sleep(seconds)
    worker.signal("SIGTERM")
    assert worker.wait_exit(30) == 0, worker.logs
    assert "Traceback" not in worker.logs
