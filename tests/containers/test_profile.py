"""What a worker sees of its jobs, and what it makes of it at its next start, seen from outside."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

import celerykit
from tests.rig.inspection import UNSAID, slots
from tests.rig.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.containers import Rig
    from tests.rig.process import Process

MIB = 2**20


@pytest.fixture
def kept(folder: Path) -> Path:
    """Have a folder that outlives a worker, as a volume does."""
    kept = folder / "kept"
    kept.mkdir()
    kept.chmod(0o777)
    return kept


def learning(stack: Rig, kept: Path, **told: Any) -> Process:
    """Start a worker that may keep what it sees, on two CPUs, and whose jobs may wait for those for long."""
    volumes = {str(kept): {"bind": "/var/lib/celery", "mode": "rw"}}
    usual = {**UNSAID, "nano_cpus": 2_000_000_000, "mem_limit": "1g", "CELERYKIT_LONGEST_JOB": 600}
    return stack.worker(**{**usual, "volumes": volumes, **told})


def done(stack: Rig) -> None:
    """Wait until every job is done."""
    until(lambda: not stack.ledger.account().lost, 90, lambda: str(stack.ledger.account()))


def seen(worker: Process, kept: Path) -> dict[str, Any]:
    """Stop a worker and return what it has kept."""
    worker.stop()
    found: dict[str, Any] = json.loads((kept / "profile-default.json").read_text())
    return found


def test_a_few_large_jobs_make_the_next_start_smaller(stack: Rig, kept: Path) -> None:
    """What many small jobs have shown is right but for the memory, and the kernel would kill the children that grow."""
    first = learning(stack, kept, CELERY_WORKER_CONCURRENCY=2)
    stack.client.work(120, 0.05)
    done(stack)
    many = seen(first, kept)
    second = learning(stack, kept, CELERY_WORKER_CONCURRENCY=2)
    stack.client.submit("jobs.hold", 150)
    done(stack)
    few = seen(second, kept)
    assert few["all"]["growth"] > 100 * MIB > many["all"]["growth"]
    assert few["all"]["jobs"] == many["all"]["jobs"] and few["all"]["wall"] == many["all"]["wall"]
    assert slots(learning(stack, kept))["default"] < 8


@pytest.mark.slow_with("solo", "gevent")
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "solo"])
def test_what_jobs_do_is_seen(stack: Rig, kept: Path, pool: str) -> None:
    """Number, time in the queue and at work, CPU time and memory of jobs, by task, whatever runs them."""
    began = time.monotonic()
    celerykit.configure(stack.client.app)
    stack.client.work(80, 0.1)
    worker = learning(stack, kept, CELERY_WORKER_POOL=pool)
    for task, argument, number in (("jobs.burn", 0.1, 40), ("jobs.hold", 30, 3)):
        for _ in range(number):
            stack.client.submit(task, argument)
    done(stack)
    record = seen(worker, kept)
    tasks = record["tasks"]
    assert {name: told["jobs"] for name, told in tasks.items()} == {"jobs.work": 80, "jobs.burn": 40, "jobs.hold": 3}
    assert all(told["wall"] >= 0.1 for told in tasks.values())
    waited = tasks["jobs.work"]  # they were there before the worker
    assert 0.5 < waited["queued_p50"] <= waited["queued_p95"] < time.monotonic() - began
    assert record["all"]["cpu"] == pytest.approx(0.034, abs=0.02)
    grown = record["all"]["growth"] / MIB
    assert 20 < grown < 100 if pool in {"prefork", "solo"} else 1 < grown < 100  # shared by all that ran at once
    if pool != "gevent":
        assert tasks["jobs.burn"]["cpu"] == pytest.approx(0.1, rel=0.2)
        assert tasks["jobs.work"]["cpu"] < 0.02
    if pool == "prefork":
        assert 0 < record["child"] < 60 * MIB


def test_jobs_that_wait_are_given_more_room_at_the_next_start(stack: Rig, kept: Path) -> None:
    """No more than four times as many as were seen at once, and in threads only where the app says it is safe."""
    first = learning(stack, kept, CELERY_WORKER_CONCURRENCY=2)  # or it would grow while it runs
    stack.client.work(120, 0.05)
    done(stack)
    first.stop()
    second = learning(stack, kept)
    assert slots(second) == {"default": 8}
    second.wait_log("concurrency=8 (tuned: jobs wait 9")
    said = second.sh("celerykit worker --explain")
    assert ": 120 jobs of 1 tasks (/var/lib/celery/profile-default.json)" in said
    second.stop()
    third = learning(stack, kept, CELERY_WORKER_POOL="UNSET", CELERYKIT_POOL_KINDS="threads,prefork")
    assert "pool=thread" in third.logs
    assert slots(third) == {"default": 8}
    stack.client.work(8, 0.1)
    done(stack)


def test_jobs_that_compute_are_not(stack: Rig, kept: Path) -> None:
    """More of them at once get no more done; a size that was too large is mended at the next start."""
    first = learning(stack, kept, CELERY_WORKER_CONCURRENCY=6)
    for _ in range(100):
        stack.client.submit("jobs.burn", 0.05)
    done(stack)
    first.stop()
    assert slots(learning(stack, kept, CELERYKIT_POOL_KINDS="threads,prefork"))["default"] <= 3


@pytest.mark.parametrize(
    ("told", "problem"),
    [("{", "is not readable"), ('{"format": 99}', "another release"), ("foreign", "is of the app sized, not of plain")],
)
def test_what_cannot_be_used_keeps_no_worker_from_starting(stack: Rig, kept: Path, told: str, problem: str) -> None:
    """It is said with the file and the remedy, and made anew."""
    file = kept / "profile-default.json"
    jobs = {"jobs": 100, "wall": 1, "cpu": 0.1, "p50": 1, "p95": 1, "p99": 1, "growth": 0}
    of_pool = {"pool": "prefork", "seconds": 9, "concurrency": 2, "used": None, "parallel": 1, "child": None}
    foreign = {"format": 1, "app": "sized", "written": "2026", **of_pool, "all": jobs, "tasks": {}}
    file.write_text(json.dumps(foreign) if told == "foreign" else told)
    file.chmod(0o666)
    worker = learning(stack, kept)
    assert "warning: profile=profile-default.json (/var/lib/celery): " in worker.logs
    assert problem in worker.logs
    assert slots(worker) == {"default": 2}
    stack.client.work(110, 0.01)
    done(stack)
    assert seen(worker, kept)["app"] == "plain"
