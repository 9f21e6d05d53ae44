"""Jobs survive the same faults on every broker that the kit stands up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.rig.waiting import meanwhile, until

if TYPE_CHECKING:
    from tests.brokers.conftest import PGMQ, RabbitMQ, Redis
    from tests.rig.containers import Rig

    Broker = PGMQ | RabbitMQ | Redis

BOUND = 15.0
"""Seconds within which a sender has an answer."""


def test_jobs_survive_a_restart_of_the_worker(broker: Broker, rig: Rig) -> None:
    """A worker restarted while its jobs run and others wait loses none and repeats none."""
    worker = rig.worker()
    rig.client.work(12, 1.0)
    rig.ledger.wait_running()
    worker.container.restart(timeout=40)
    rig.assert_nothing_lost()


def test_a_job_on_its_way_into_a_child_runs_once(broker: Broker, rig: Rig) -> None:
    """A child that has been given a job, and has had no core yet to begin it, is waited for at a stop."""
    worker = rig.worker()
    children = " ".join(map(str, worker.children()))
    worker.sh(f"kill -STOP {children}")
    rig.client.work(2, 1.0)
    until(lambda: rig.client.unacknowledged() == 2, 60, "two jobs in the worker")
    time.sleep(1)  # nothing tells from outside that a job is in a child's pipe
    worker.signal("SIGTERM")
    worker.wait_log("draining")
    worker.sh(f"kill -CONT {children}")
    assert worker.wait_exit(60) == 0
    rig.worker()
    rig.assert_nothing_lost()


def test_jobs_survive_a_kill_of_the_worker(broker: Broker, rig: Rig) -> None:
    """A killed worker's jobs run again as early as the broker allows."""
    worker = rig.worker()
    jobs = rig.client.work(2, 3.0)
    rig.ledger.wait_running(2)
    worker.kill_and_start()
    killed = time.time()
    worker.wait_ready()
    ready = time.time()  # on a slow machine the time to start is longer than what the broker takes
    rig.assert_nothing_lost(broker.redelivery + 15, twice=2)
    again = [rig.ledger.first("start", job, 2) for job in jobs]
    assert all(at and (at - killed < broker.redelivery or at - ready < 4) for at in again), (again, killed, ready)


@pytest.mark.slow_with("pgmq")
def test_a_worker_grows_while_jobs_wait_for_it(broker: Broker, rig: Rig) -> None:
    """Every broker can say how many jobs wait; from 2 at once to 4 while none is lost or run twice."""
    rig.worker(CELERY_WORKER_CONCURRENCY="UNSET", cpuset_cpus="0,1")
    rig.client.work(60, 1.0)
    rig.ledger.wait_running(4)
    rig.assert_nothing_lost()


@pytest.mark.slow_with("restart")
@pytest.mark.parametrize("fault", ["restart", "kill"])
def test_jobs_survive_the_broker_under_publishing(broker: Broker, rig: Rig, fault: str) -> None:
    """What the broker accepted before and after it was restarted or killed is done, with no help for the sender."""
    rig.worker(restart=True)  # as the stack has it
    with meanwhile(lambda: rig.client.submit("jobs.work", 0.05), 0.05):
        rig.ledger.wait_running()
        if fault == "restart":
            broker.server.stop()
        else:
            broker.server.kill()
        broker.server.start()
        until(rig.client.ping, 60, "the broker answers")
        rig.ledger.wait_accepted(10, 60)
    rig.assert_nothing_lost(twice=6)


@pytest.mark.slow_with("RabbitMQOnSmallDisk")
def test_a_broker_without_memory_or_disk_answers_and_keeps_what_it_has(scarce: Broker, rig: Rig) -> None:
    """The sender has an error within 15 s, running jobs end, and with room again jobs are accepted as before."""
    worker = rig.worker()
    rig.client.work(2, 8.0)
    rig.ledger.wait_running(2)
    answers: list[float] = []
    until(lambda: scarce.fill() or timed(rig, answers) is None, 60, "an error")  # jobs that end leave room
    assert max(answers) < BOUND, answers
    scarce.relieve()
    until(lambda: timed(rig, answers), 60, "a job that is accepted")
    rig.assert_nothing_lost()
    assert worker.state["Status"] == "running"
    # An error says that nobody knows: the broker may have had the job already, and then it runs once.
    assert not rig.ledger.account().done_twice, str(rig.ledger.account())


def timed(rig: Rig, answers: list[float]) -> str | None:
    """Submit a job, and note the seconds that the answer took."""
    began = time.monotonic()
    job = rig.client.submit("jobs.work", 0.1)
    answers.append(time.monotonic() - began)
    return job


@pytest.mark.slow_with("pgmq")
def test_a_poison_job_ends_in_the_dead_letters(broker: Broker, rig: Rig) -> None:
    """A job that kills its pool child each time is started as often as said, then kept; the pool works on."""
    rig.worker(CELERYKIT_MAX_DELIVERIES=3)
    poison = rig.client.submit("jobs.kill_child") or ""
    until(lambda: len(rig.client.dead_letters()) == 1, 60, "a dead letter")
    assert poison.encode() in rig.client.dead_letters()[0]
    assert rig.ledger.account().starts[poison] == 3
    jobs = rig.client.work(4, 0.2)
    until(lambda: set(jobs) <= set(rig.ledger.account().done), 60, "jobs after the poison")


def test_a_job_that_no_worker_can_run_is_kept(broker: Broker, rig: Rig) -> None:
    """Of a task that the worker does not know, or written as it must not read: in the dead letters, with the reason."""
    worker = rig.worker()
    unknown = rig.client.submit("jobs.unheard_of") or ""
    unread = rig.client.submit("jobs.work", 0.1, serializer="pickle") or ""
    until(lambda: len(rig.client.dead_letters()) == 2, 60, "two dead letters")
    letters = b"".join(rig.client.dead_letters())
    assert all(word.encode() in letters for word in (unknown, unread, "knows no task", "untrusted content"))
    assert f"jobs.unheard_of[{unknown}] is kept in the dead letters" in worker.logs
    jobs = rig.client.work(2, 0.1)
    until(lambda: set(jobs) <= set(rig.ledger.account().done), 60, "jobs after them")


@pytest.mark.slow_with("redis")
def test_a_delayed_job_sent_before_any_worker_is_on_time(broker: Broker, rig: Rig) -> None:
    """Neither lost nor early, and one whose delay ends before the first worker starts waits for it."""
    sent = time.time()
    jobs = [rig.client.submit("jobs.work", 0.1, countdown=delay) or "" for delay in (0.5, 2, 30)]
    assert all(jobs)
    until(lambda: time.time() > sent + 4, 10, "the second delay")
    rig.worker()
    rig.assert_nothing_lost()
    started = [rig.ledger.first("start", job) or 0.0 for job in jobs]
    assert sent + 30 <= started[2] + 0.05 and started[2] < sent + 35


@pytest.mark.slow_with("pgmq")
def test_what_is_due_runs_however_many_jobs_wait(broker: Broker, rig: Rig) -> None:
    """A thousand jobs for next week take no slot: one for now runs now, and one that is due in a moment runs then."""
    rig.worker()
    for _ in range(1010):
        rig.client.app.send_task("jobs.work", args=[0.1], countdown=7 * 86400)
    due = time.time() + 4
    soon = rig.client.submit("jobs.work", 0.1, countdown=4) or ""
    now = rig.client.work(2, 0.1)
    until(lambda: set(now) <= set(rig.ledger.account().done), 30, "jobs for now")
    until(lambda: rig.ledger.first("start", soon), 30, "the job that is due")
    assert due - 0.05 <= (rig.ledger.first("start", soon) or 0.0) < due + 5
