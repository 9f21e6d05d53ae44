"""A result backend that answers and refuses, full, read-only or alone, costs no result and restarts no worker."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from celery import Celery, chord, group

from tests.brokers.scene import read_only
from tests.rig.containers import REDIS_IMAGE
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.containers import Rig
    from tests.rig.process import Process

LONG = 600
"""Seconds of a longest job: no job is ended for the time that its result waits."""
OPERATOR = "user root on nopass ~* &* +@all\n"
"""Who may say to the broker's Redis how much memory it may have."""
OF_REDIS = {
    "OOM": ("config set maxmemory 1", "config set maxmemory 0"),
    "NOREPLICAS": ("config set min-replicas-to-write 1", "config set min-replicas-to-write 0"),
    "READONLY": ("replicaof 127.0.0.1 9", "replicaof no one"),
}
"""What makes Redis refuse, and what makes it take results again."""


class Canvas:
    """Plain jobs, a group and a chord, sent by a producer without the kit."""

    def __init__(self, rig: Rig, results: str, seconds: float = 1.0):
        self.app = Celery("canvas", broker=rig.client.app.conf.broker_url, backend=results, set_as_current=False)
        self.work = self.app.signature("jobs.work", args=(seconds,), immutable=True)
        self.results = [self.work.delay() for _ in range(4)]
        self.results += group([self.work] * 2)().results
        body = chord([self.work] * 3)(self.work)
        self.results += [body, *body.parent.results]

    def wait(self, worker: Process) -> None:
        """Wait until every job has the result that it ended with."""
        until(lambda: self.states() == {"SUCCESS"}, 90, lambda: f"{self.states()}\n{worker.logs[-6000:]}", pause=1)

    def states(self) -> set[str]:
        """Return what results there are."""
        return {self.app.AsyncResult(result.id).state for result in self.results}


@contextmanager
def unbroken(worker: Process) -> Iterator[None]:
    """Look that a worker goes on as it is, without a word of a job that failed."""
    before = worker.state["Pid"]
    yield
    assert worker.state["Pid"] == before and worker.probe("ready")
    for word in ("raised unexpected", "Pool callback", "Task handler raised", "terminated"):
        assert word not in worker.logs, worker.logs[-6000:]


def assert_said(worker: Process, word: str, times: int = 3) -> None:
    """Look that a refusal has its line in each process that waited, the main one included, and is over."""
    began = worker.logs.count(f"refuses results: {word};")
    assert 1 <= began <= times, worker.logs[-6000:]
    until(
        lambda: worker.logs.count("accepts results again") == worker.logs.count("refuses results"),
        *(30, lambda: worker.logs[-6000:]),
    )


def wait_refused(worker: Process, word: str) -> None:
    """Wait until a job has ended whose result is refused."""
    worker.wait_log(f"refuses results: {word};", 60)


@pytest.mark.parametrize("pool_class", ["prefork", pytest.param("threads", marks=pytest.mark.slow)])
def test_redis_that_refuses_results_loses_none(rig: Rig, pool_class: str) -> None:
    """Full, without a replica, or a replica itself: each job has its result afterwards, and a chord its end."""
    rig.redis()
    told = ["--protected-mode", "no"]
    server = rig.run(REDIS_IMAGE, name="results", command=told, ports={"6379/tcp": ("127.0.0.1", 0)})
    url = "redis://results:6379/0"
    worker = rig.worker(pool_class, CELERY_RESULT_BACKEND=url, CELERYKIT_LONGEST_JOB=LONG)
    with unbroken(worker):
        for word, (refuse, relent) in OF_REDIS.items():
            canvas = Canvas(rig, f"redis://{published(server)}/0")
            rig.ledger.wait_running(2)
            server.sh(f"redis-cli {refuse}")
            wait_refused(worker, word)
            server.sh(f"redis-cli {relent}")
            canvas.wait(worker)
            assert_said(worker, word)


def published(server: Process) -> str:
    """Return where this machine reaches a server."""
    until(lambda: server.answers("redis-cli ping"), 30, "the server")
    server.container.reload()
    return f"127.0.0.1:{server.container.ports['6379/tcp'][0]['HostPort']}"


def allow(server: Process, memory: int) -> None:
    """Let the broker's Redis have so many bytes; 0 is as much as it likes."""
    server.sh(f"redis-cli --user root --pass any config set maxmemory {memory}")


def wait_stored(rig: Rig, jobs: list[str]) -> None:
    """Wait until these jobs have their results."""
    until(lambda: {rig.client.result(job).state for job in jobs} == {"SUCCESS"}, 60, "every result", pause=1)


def test_a_full_broker_keeps_no_result_from_its_job(rig: Rig) -> None:
    """Jobs and results on one Redis, as the stack has them: what ends while it is full has its result afterwards.

    So has what the main process says of a job that took too long.
    """
    server = rig.redis(users=OPERATOR)
    worker = rig.worker(CELERYKIT_LONGEST_JOB=LONG, CELERYKIT_STUCK_AFTER=20)
    before = worker.state["Pid"]
    (long,) = rig.client.work(1, 60.0, time_limit=8)
    jobs = rig.client.work(3, 1.0)
    rig.ledger.wait_running(2)
    allow(server, 1)
    wait_refused(worker, "OOM")
    worker.wait_log("MainProcess] the result backend", 60)
    until(lambda: worker.probe("live"), 10, lambda: worker.logs[-4000:])
    allow(server, 0)
    wait_stored(rig, jobs)
    until(lambda: rig.client.result(long).state == "FAILURE", 60, "that it took too long")
    assert_said(worker, "OOM")
    assert worker.state["Pid"] == before
    assert not rig.ledger.account().started_twice and rig.client.unacknowledged() == 0


def test_a_stop_is_not_held_up_by_a_result_that_is_refused(rig: Rig) -> None:
    """The job goes back within the stop's budget, and the next worker's result is the one that counts."""
    server = rig.redis(users=OPERATOR)
    worker = rig.worker(CELERYKIT_STOP_TIMEOUT=8, CELERYKIT_LONGEST_JOB=LONG)
    jobs = rig.client.work(2, 1.0)
    rig.ledger.wait_running(2)
    allow(server, 1)
    wait_refused(worker, "OOM")
    assert worker.stop(seconds=20) < 14
    assert worker.state["ExitCode"] == 0
    allow(server, 0)
    assert rig.client.queued() == 2
    rig.worker()
    wait_stored(rig, jobs)


@pytest.mark.slow
def test_postgresql_that_refuses_results_loses_none(rig: Rig) -> None:
    """Read-only, as after a failover: each job has its result afterwards, and a chord its end."""
    rig.redis()
    server, address = rig.postgresql()
    url = f"db+postgresql+psycopg://celery:{rig.password}@postgresql:5432/celery"
    worker = rig.worker(CELERY_RESULT_BACKEND=url, CELERYKIT_LONGEST_JOB=LONG)
    results = url.replace("postgresql:5432", address)
    with unbroken(worker):
        canvas = Canvas(rig, results)
        rig.ledger.wait_running(2)
        with read_only(server):
            wait_refused(worker, "25006")
        canvas.wait(worker)
        assert_said(worker, "25006")
    assert rig.password not in worker.logs
