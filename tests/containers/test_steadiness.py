"""Nothing restarts a healthy worker, and nothing keeps a stuck one."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.containers import Rig
    from tests.rig.process import Process

STUCK_AFTER = 20
"""Seconds; a third of what the worker has to bear, so that a wrong sign of life shows."""


def start_of(worker: Process) -> tuple[str, int]:
    """Return what changes when a worker starts anew."""
    return str(worker.state["StartedAt"]), int(worker.state["Pid"])


@pytest.mark.slow_with("solo", "threads")
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_a_broker_outage_restarts_nothing(rig: Rig, pool: str) -> None:
    """The same process is alive but not ready while the broker is away, and ready again when it is back."""
    redis = rig.redis()
    worker = rig.worker(pool, CELERYKIT_STUCK_AFTER=STUCK_AFTER, restart=True)
    before = start_of(worker)
    redis.stop()
    # A broker that says no goodbye is missed within about 20 s, see `health_check_interval`.
    until(lambda: not worker.probe("ready"), 60, "not ready")
    for _ in range(3 * STUCK_AFTER // 10):
        time.sleep(10)
        assert worker.probe("live"), worker.logs[-2000:]
        assert not worker.probe("ready")
    redis.start()
    worker.wait_ready()
    assert start_of(worker) == before
    pauses = [float(pause) for pause in re.findall(r"Trying again in ([\d.]+) seconds", worker.logs)]
    assert max(pauses) <= 5, "a longer pause would cost as much again after the broker's return"
    rig.client.work(1, 0.1)
    until(lambda: not rig.ledger.account().lost, 60, lambda: str(rig.ledger.account()))


def test_a_worker_that_gets_no_job_is_not_ready_and_says_why(rig: Rig) -> None:
    """As where Redis lets it in and refuses each request for jobs; when it does so no more, the worker works."""
    redis = rig.redis(users="user admin on nopass ~* &* +@all\n")
    worker = rig.worker(restart=True)
    ask = "redis-cli --user admin --pass any"
    redis.sh(f"{ask} rename celerykit.owners kept && {ask} set celerykit.owners 'no set'")
    rig.client.work(1, 0.1)
    until(lambda: not worker.probe("ready"), 30, "not ready")
    for _ in range(12):
        time.sleep(0.4)
        assert not worker.probe("ready")
    assert "WRONGTYPE" in worker.sh("celerykit probe worker --live")
    redis.sh(f"{ask} rename kept celerykit.owners")
    worker.wait_ready()
    until(lambda: not rig.ledger.account().lost, 60, lambda: str(rig.ledger.account()))


@pytest.mark.slow_with("threads", "gevent")
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_a_broker_that_is_cut_off_is_noticed(rig: Rig, pool: str) -> None:
    """A connection over which nothing comes any more, not even its end, is given up and made anew."""
    redis = rig.redis()
    worker = rig.worker(pool, restart=True)
    before = start_of(worker)
    rig.network.disconnect(redis.container)
    until(lambda: not worker.probe("ready"), 60, "not ready")
    rig.network.connect(redis.container, aliases=["redis"])
    worker.wait_ready()
    assert start_of(worker) == before
    rig.client.work(1, 0.1)
    until(lambda: not rig.ledger.account().lost, 60, lambda: str(rig.ledger.account()))


def test_an_outage_of_the_result_backend_restarts_nothing(stack: Rig) -> None:
    """A worker that has to say of a job that it took too long, and nobody takes it, is not stuck."""
    nowhere = "redis://127.0.0.1:9/0"
    worker = stack.worker(
        CELERYKIT_STUCK_AFTER=STUCK_AFTER, CELERYKIT_LONGEST_JOB=3, CELERY_RESULT_BACKEND=nowhere, restart=True
    )
    before = start_of(worker)
    stack.client.work(1, 60.0)
    until(lambda: "TimeLimitExceeded(3.0" in worker.logs, 30, lambda: worker.logs[-2000:])
    for _ in range(9):
        time.sleep(5)
        assert worker.probe("live"), worker.logs[-2000:]
    assert start_of(worker) == before


def test_a_job_of_a_minute_in_the_solo_pool_restarts_nothing(stack: Rig) -> None:
    """The main thread runs the job and nothing else; the worker counts as alive, and the job runs once."""
    worker = stack.worker("solo", CELERYKIT_STUCK_AFTER=STUCK_AFTER, CELERYKIT_LONGEST_JOB=120, restart=True)
    before = start_of(worker)
    stack.client.work(1, 60.0)
    for _ in range(6):
        time.sleep(9)
        assert worker.probe("live")
    until(lambda: not stack.ledger.account().lost, 60, lambda: str(stack.ledger.account()))
    assert start_of(worker) == before
    assert not stack.ledger.account().started_twice


@pytest.mark.slow_with("prefork")
@pytest.mark.parametrize(
    ("pool", "task"),
    [
        ("prefork", "jobs.hold_interpreter"),
        ("threads", "jobs.hold_interpreter"),
        ("solo", "jobs.hold_interpreter"),
        ("gevent", "jobs.hold_interpreter"),
        ("gevent", "jobs.wait_in_c"),
        pytest.param("prefork", "jobs.wait_in_c", marks=pytest.mark.slow),
        pytest.param("threads", "jobs.wait_in_c", marks=pytest.mark.slow),
    ],
)
def test_a_job_that_holds_up_all_of_its_worker_runs_once(stack: Rig, pool: str, task: str) -> None:
    """Beside idle workers, for longer than any sign of life stays away otherwise; no worker is ended for it."""
    workers = [stack.worker(pool, CELERYKIT_STUCK_AFTER=8, restart=True, ready=False) for _ in range(3)]
    for worker in workers:
        worker.wait_ready()
    before = [start_of(worker) for worker in workers]
    stack.client.submit(task, 20)
    until(lambda: not stack.ledger.account().lost, 60, lambda: str(stack.ledger.account()))
    time.sleep(8)  # a lease and more
    account = stack.ledger.account()
    assert not account.started_twice
    assert not account.running
    assert [start_of(worker) for worker in workers] == before
    assert not any("run twice" in worker.logs or "are back in their" in worker.logs for worker in workers)


@pytest.mark.slow_with("threads")
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_drain_of_a_minute_is_let_be(stack: Rig, pool: str) -> None:
    """A worker that drains is alive, not ready, and ends with its job, not before."""
    worker = stack.worker(
        pool, CELERYKIT_STUCK_AFTER=STUCK_AFTER, CELERYKIT_LONGEST_JOB=120, CELERYKIT_STOP_TIMEOUT=120
    )
    stack.client.work(1, 60.0)
    until(lambda: stack.ledger.account().running, 60, "a running job", pause=0.05)
    worker.signal("SIGTERM")
    for _ in range(5):
        time.sleep(9)
        assert worker.probe("live"), worker.logs[-2000:]
        assert not worker.probe("ready")
    assert worker.wait_exit(90) == 0
    assert not stack.ledger.account().lost, str(stack.ledger.account())


def test_a_blocked_main_loop_is_ended_with_its_stacks_and_comes_back(stack: Rig) -> None:
    """A worker whose loop hangs writes all stacks to the log, ends, and is ready again."""
    worker = stack.worker(app="blocked", ready=False, CELERYKIT_STUCK_AFTER=5, restart=True)
    before = start_of(worker)
    until(lambda: start_of(worker) != before and worker.state["Running"], 120, "a new process")
    assert "Timeout (0:00:0" in worker.logs
    assert "blocked.py" in worker.logs or "asynloop" in worker.logs
    worker.wait_ready()
    stack.client.work(1, 0.1)
    until(lambda: not stack.ledger.account().lost, 60, lambda: str(stack.ledger.account()))


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_start_that_takes_its_time_is_let_be(stack: Rig, pool: str) -> None:
    """A worker whose app loads a model for longer than anything stuck lives is alive, not ready, and then works."""
    worker = stack.worker(pool, "slow", CELERYKIT_STUCK_AFTER=5, ready=False, restart=True)
    before = start_of(worker)
    # After 5 s and after 10 s.
    until(lambda: worker.logs.count("still starting after") > 1, 60, lambda: worker.logs[-3000:])
    assert worker.probe("live")
    assert not worker.probe("ready") and not worker.probe("started")
    (stack.ledger.folder / "loaded").touch()
    worker.wait_ready()
    stack.client.work(1, 0.1)
    until(lambda: not stack.ledger.account().lost, 30, lambda: worker.logs[-3000:])
    assert start_of(worker) == before


def test_a_worker_that_starts_before_its_broker_waits_for_it(rig: Rig) -> None:
    """No broker at start: alive, not ready, says so in the log, and consumes when it is there."""
    redis = rig.redis()
    redis.stop()
    worker = rig.worker(CELERYKIT_STUCK_AFTER=10, ready=False)
    worker.wait_log("Cannot connect to redis://celery:**@redis:6379/0")
    time.sleep(15)
    assert worker.probe("live")
    assert not worker.probe("ready")
    redis.start()
    worker.wait_ready()


def test_a_probe_costs_next_to_nothing(stack: Rig) -> None:
    """A health check every few seconds takes less than 60 ms of CPU; the least of five, as others take the cores."""
    worker = stack.worker()
    command = (
        "python3 -c 'import resource, subprocess; "
        'subprocess.run(["celerykit", "probe", "worker", "--ready"], stdout=subprocess.DEVNULL, check=True); '
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)'"
    )
    assert min(float(worker.sh(command)) for _ in range(5)) < 0.06
