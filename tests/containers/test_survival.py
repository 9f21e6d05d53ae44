"""Jobs survive what operators and machines do to workers and brokers."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.rig.containers import POOLS
from tests.rig.waiting import meanwhile, until

if TYPE_CHECKING:
    from tests.rig.containers import Rig

STYLES = ["plain", "updated", "from_object"]
VISIBILITY_TIMEOUT = 20.0
"""Seconds; what follows from the rig's CELERYKIT_LONGEST_JOB=10."""


@pytest.mark.parametrize("pool", POOLS)
def test_jobs_survive_a_restart_under_load(stack: Rig, pool: str) -> None:
    """A worker restarted while its jobs run and others wait loses none and repeats none."""
    worker = stack.worker(pool)
    stack.client.work(12, 1.0)
    stack.ledger.wait_running()
    worker.container.restart(timeout=40)
    stack.assert_nothing_lost()


@pytest.mark.parametrize("pool", POOLS)
def test_jobs_survive_a_term_to_the_whole_group(stack: Rig, pool: str) -> None:
    """A TERM to every process, as some init systems send it, lets running jobs end."""
    worker = stack.worker(pool)
    stack.client.work(4, 3.0)
    stack.ledger.wait_running()
    worker.sh("kill -TERM -- -1; kill -TERM 1")
    assert worker.wait_exit(60) == 0
    last = max(entry.at for entry in stack.ledger.entries() if entry.kind == "done")
    ended = datetime.fromisoformat(f"{worker.state['FinishedAt'][:19]}+00:00").timestamp()
    # The seconds of an idle stop, with some of those that other tests take.
    assert ended - last < (6 if pool == "gevent" else 3) + 3
    assert not stack.ledger.account().running, str(stack.ledger.account())
    stack.worker(pool)
    stack.assert_nothing_lost()


@pytest.mark.parametrize("pool", POOLS)
def test_an_idle_worker_stops_at_once(stack: Rig, pool: str) -> None:
    """A worker without jobs ends within 3 s, 6 s under gevent; the best of five, as other tests take the cores."""
    worker = stack.worker(pool)
    limit = 6 if pool == "gevent" else 3
    seconds = worker.stop()
    for _ in range(4):
        if seconds >= limit:
            worker.start()
            worker.wait_ready()
            seconds = worker.stop()
    assert seconds < limit
    assert worker.state["ExitCode"] == 0


@pytest.mark.slow_with("threads", "gevent")
@pytest.mark.parametrize("pool", POOLS)
def test_a_job_longer_than_the_stop_budget_is_given_back(stack: Rig, pool: str) -> None:
    """At the budget nothing runs on, every job is back in the queue, and the exit code is 0."""
    worker = stack.worker(pool, CELERYKIT_STOP_TIMEOUT=8)
    stack.client.work(3, 9.0)
    stack.ledger.wait_running()
    assert worker.stop(seconds=20) < 9
    assert worker.state["ExitCode"] == 0
    assert (stack.client.queued(), stack.client.unacknowledged()) == (3, 0)
    stack.worker(pool)
    stack.assert_nothing_lost(twice=2)


@pytest.mark.parametrize("app", STYLES)
def test_jobs_survive_a_kill_of_the_worker(stack: Rig, app: str) -> None:
    """A worker killed with all slots busy, and started again: its jobs run again as soon as it is there."""
    worker = stack.worker(app=app, restart=True, CELERYKIT_LONGEST_JOB=600)
    jobs = stack.client.work(2, 3.0)
    stack.ledger.wait_running(2)
    worker.kill_and_start()
    worker.wait_ready()
    ready = time.time()
    stack.assert_nothing_lost(30, twice=2)
    again = [stack.ledger.first("start", job, 2) for job in jobs]
    assert all(at and at - ready < 4 for at in again), again


@pytest.mark.parametrize("pool", POOLS)
def test_a_killed_workers_jobs_are_taken_over(stack: Rig, pool: str) -> None:
    """A worker that is killed and stays away: another runs its jobs within 10 s."""
    victim = stack.worker(pool, CELERYKIT_LONGEST_JOB=600)
    jobs = stack.client.work(1 if pool == "solo" else 2, 120.0)
    stack.ledger.wait_running(len(jobs))
    stack.worker(pool, CELERYKIT_LONGEST_JOB=600)
    killed = time.time()
    victim.signal("SIGKILL")
    again = [until(lambda it=job: stack.ledger.first("start", it, 2), 30, "a second start") for job in jobs]
    assert all(at - killed < 10 for at in again), again


@pytest.mark.slow_with("solo")
@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_jobs_of_a_worker_that_is_cut_off_are_taken_over(stack: Rig, pool: str) -> None:
    """No word comes that its connection has ended; Redis asks, and within 45 s another worker has its job."""
    cut, heir = (stack.worker(pool) for _ in range(2))
    stack.client.work(1, 50.0)
    stack.ledger.wait_running()
    host = next(entry.host for entry in stack.ledger.entries() if entry.kind == "start")
    cut, heir = (cut, heir) if cut.container.id.startswith(host) else (heir, cut)
    stack.cut(cut)
    began = time.monotonic()
    until(lambda: stack.ledger.account().started_twice, 90, lambda: heir.logs[-2000:])
    assert time.monotonic() - began < 45
    assert " is not connected any more: 1 jobs of it are back" in heir.logs
    stack.mend(cut)
    cut.wait_log("this worker was taken for dead, for it was not heard of for")
    assert "give each machine" not in cut.logs


def test_jobs_of_a_task_that_a_receiver_names_survive_a_kill(stack: Rig) -> None:
    """A task that the app adds to its schedule in a receiver is as safe as another: its worker killed, none is lost."""
    worker = stack.worker(app="periodic", restart=True, CELERY_WORKER_CONCURRENCY=4, CELERYKIT_LONGEST_JOB=600)
    for task in ("jobs.named", "jobs.work") * 2:
        stack.client.submit(task, 3.0)
    stack.ledger.wait_running(4)
    worker.kill_and_start()
    stack.assert_nothing_lost(twice=4)


def test_jobs_of_a_killed_stock_worker_wait_for_the_visibility_timeout(stack: Rig) -> None:
    """With the transport switched off, a killed worker's jobs run again within the visibility timeout and 10 s."""
    worker = stack.worker(restart=True, CELERYKIT_REDIS_TRANSPORT="stock")
    jobs = stack.client.work(2, 3.0)
    stack.ledger.wait_running(2)
    killed = time.time()
    worker.kill_and_start()
    stack.assert_nothing_lost(VISIBILITY_TIMEOUT + 15, twice=2)
    again = [stack.ledger.first("start", job, 2) for job in jobs]
    assert all(at and at - killed < VISIBILITY_TIMEOUT + 10 for at in again), again


def test_a_job_that_always_kills_its_worker_ends_in_the_dead_letters(stack: Rig) -> None:
    """Five starts, then FAILURE and a dead letter; what was behind it runs meanwhile."""
    stack.worker("threads", restart=True)
    poison = stack.client.submit("jobs.end_process") or ""
    jobs = stack.client.work(3, 0.1)
    until(lambda: stack.client.result(poison).state == "FAILURE", 120, lambda: str(stack.ledger.account()))
    assert stack.ledger.account().starts[poison] == 5
    letters = stack.client.dead_letters()
    assert len(letters) == 1 and poison.encode() in letters[0]
    assert set(jobs) <= set(stack.ledger.account().done)


def test_a_job_longer_than_the_visibility_timeout_runs_once(stack: Rig) -> None:
    """Neither a long job nor one that waits for its time runs again because of time, with a stock worker there."""
    stack.worker(app="impatient", CELERYKIT_LONGEST_JOB=60)
    jobs = stack.client.work(1, 12.0) + stack.client.work(1, 0.1, countdown=12)
    stack.ledger.wait_running(1)
    until(lambda: stack.client.queued() == 0, 30, "the other put off")
    stack.worker(app="impatient", CELERYKIT_LONGEST_JOB=60, CELERYKIT_REDIS_TRANSPORT="stock")
    stack.assert_nothing_lost(60)
    assert [stack.ledger.account().starts[job] for job in jobs] == [1, 1]


def test_the_default_visibility_timeout_follows_from_the_longest_job(stack: Rig) -> None:
    """The live channel of a worker that sets nothing waits for the default longest job, and 10 s."""
    worker = stack.worker(app="watched", CELERYKIT_LONGEST_JOB="UNSET")
    assert "visibility_timeout=3610.0" in worker.logs


@pytest.mark.parametrize("app", STYLES)
def test_jobs_survive_a_kill_of_a_pool_child(stack: Rig, app: str) -> None:
    """A killed pool child's job runs again at once, in a new child."""
    worker = stack.worker(app=app)
    stack.client.work(4, 2.0)
    stack.ledger.wait_running(2)
    worker.sh(f"kill -KILL {worker.children()[0]}")
    stack.assert_nothing_lost(twice=1)


def test_an_app_that_sets_the_opposite_gets_it(stack: Rig) -> None:
    """The app's own settings win: with early acknowledgement a killed child's job is not run again."""
    worker = stack.worker(app="opposite")
    bound = stack.client.submit("jobs.bound")
    assert stack.client.result(bound or "").get(timeout=60) == {"acks_late": False, "reject_on_worker_lost": False}
    jobs = stack.client.work(2, 3.0)
    stack.ledger.wait_running(2)
    worker.sh(f"kill -KILL {worker.children()[0]}")
    until(lambda: set(jobs) & set(stack.ledger.account().done), 60, "the job of the child that lives")
    time.sleep(8)
    assert len(stack.ledger.account().lost & set(jobs)) == 1


def test_jobs_survive_an_oom_kill_of_a_child(stack: Rig) -> None:
    """A child that the kernel kills for memory takes nothing with it: worker and job go on."""
    worker = stack.worker(mem_limit="256m", memswap_limit="256m")
    hungry = stack.client.submit("jobs.eat", 1024)
    stack.client.work(4, 0.5)
    stack.assert_nothing_lost(twice=1)
    assert stack.ledger.account().starts[hungry or ""] == 2
    assert worker.state["Status"] == "running"


def test_a_job_that_always_kills_its_child_ends_in_the_dead_letters(stack: Rig) -> None:
    """Five starts with a rising delay, then FAILURE and a dead letter; the pool works on."""
    worker = stack.worker()
    poison = stack.client.submit("jobs.kill_child") or ""
    until(lambda: stack.client.result(poison).state == "FAILURE", 120, "the FAILURE of the poison job")
    starts = [entry.at for entry in stack.ledger.entries() if (entry.kind, entry.job) == ("start", poison)]
    pauses = [later - earlier for earlier, later in zip(starts, starts[1:], strict=False)]
    assert len(starts) == 5
    assert pauses[0] >= 1 and pauses[-1] >= 8, pauses
    letters = stack.client.dead_letters()
    assert len(letters) == 1 and poison.encode() in letters[0]
    jobs = stack.client.work(4, 0.2)
    until(lambda: set(jobs) <= set(stack.ledger.account().done), 60, "jobs after the poison")
    assert worker.state["Status"] == "running"


@pytest.mark.parametrize("fault", ["restart", "kill"])
def test_jobs_survive_redis(rig: Rig, fault: str) -> None:
    """Redis restarted or killed under load keeps every accepted job."""
    redis = rig.redis()
    rig.worker()
    rig.client.work(20, 0.5)
    rig.ledger.wait_running()
    if fault == "restart":
        redis.stop()
    else:
        redis.kill()
    redis.start()
    until(rig.client.ping, 60, "Redis answers")
    rig.client.work(5, 0.1)
    rig.assert_nothing_lost(twice=2)


def test_jobs_submitted_while_no_worker_runs_are_done(stack: Rig) -> None:
    """The queue keeps what comes while every worker is away."""
    stack.client.work(10, 0.1)
    stack.worker()
    stack.assert_nothing_lost()


def test_fifty_sleeping_jobs_run_at_once_under_gevent(stack: Rig) -> None:
    """Gevent named in the environment is really patched: fifty jobs wait side by side."""
    stack.worker("gevent", CELERY_WORKER_CONCURRENCY=50)
    began = time.monotonic()
    stack.client.work(50, 4.0)
    stack.assert_nothing_lost()
    assert time.monotonic() - began < 60, "one after the other they take 200 s"


def test_at_most_once_never_runs_a_job_again(stack: Rig) -> None:
    """Acknowledged before the pool gets it: a killed worker's jobs are gone and not repeated."""
    worker = stack.worker(CELERYKIT_DELIVERY="at-most-once", restart=True)
    stack.client.work(2, 3.0)
    stack.ledger.wait_running(2)
    assert stack.client.unacknowledged() == 0
    worker.kill_and_start()
    time.sleep(VISIBILITY_TIMEOUT + 8)
    account = stack.ledger.account()
    assert len(account.lost) == 2 and not account.started_twice, str(account)


@pytest.mark.slow_with("threads", "gevent")
@pytest.mark.parametrize("pool", POOLS)
def test_at_most_once_loses_nothing_to_a_restart(stack: Rig, pool: str) -> None:
    """What the pool has not got yet is not acknowledged: a graceful restart drops nothing and repeats nothing."""
    worker = stack.worker(pool, CELERYKIT_DELIVERY="at-most-once")
    stack.client.work(12, 1.0)
    stack.ledger.wait_running()
    worker.container.restart(timeout=40)
    stack.assert_nothing_lost()


def test_at_most_once_loses_no_job_on_its_way_into_the_pool(stack: Rig) -> None:
    """A job that is acknowledged, and that no child has yet when its worker stops, is done before the end."""
    worker = stack.worker(app="stopped_at_receipt", CELERYKIT_DELIVERY="at-most-once")
    stack.client.work(1, 0.5)
    assert worker.wait_exit(60) == 0
    stack.assert_nothing_lost(10)


def test_two_workers_restarted_in_turn_never_stop_the_service(stack: Rig) -> None:
    """With two workers restarted one after the other under a steady stream, every job is done once."""
    workers = [stack.worker(), stack.worker()]
    with meanwhile(lambda: stack.client.work(2, 0.3), 0.2):
        for worker in workers:
            stack.ledger.wait_running()
            worker.container.restart(timeout=40)
            worker.wait_ready()
    stack.assert_nothing_lost(180)


def test_the_image_s_own_check_ends_no_worker_and_no_client(rig: Rig) -> None:
    """Healthy once it was ready, through an outage of the broker; and so is what is no worker, from its start."""
    broker = rig.redis()
    worker = rig.worker()
    client = rig.run(rig.image, entrypoint=["sleep", "infinity"])
    check = " ".join(worker.container.image.attrs["Config"]["Healthcheck"]["Test"][1:])
    assert worker.answers(check) and client.answers(check)
    broker.stop(5)
    until(lambda: not worker.probe("ready"), 60, "a worker that has noticed the outage")
    assert worker.answers(check)
    beginning = rig.worker(ready=False)
    until(lambda: beginning.probe("live"), 60, "a worker that waits for its broker")
    assert not beginning.answers(check), "a rollout would not wait for it"
