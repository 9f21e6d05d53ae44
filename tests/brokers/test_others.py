"""Brokers that the kit does not stand up do what docs/brokers.md says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers.kinds import FILES, FOLDER, LOGIN, SQLITE, SQS, Kind, settings
from tests.containers.test_bad_input import refused
from tests.containers.test_survival import wait_running
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rig.containers import Process, Rig

LONGEST_JOB = 5
BY_TIME = pytest.mark.parametrize("kind", [SQS], ids=["sqs"])
FORGETFUL = pytest.mark.parametrize("kind", [SQLITE, FILES], ids=["sqlite", "filesystem"])
ALL = pytest.mark.parametrize("kind", [SQS, SQLITE, FILES], ids=["sqs", "sqlite", "filesystem"])
pytestmark = pytest.mark.xdist_group("others")  # so that the app is installed once


class Broker:
    """A broker of some kind in a rig, with workers that are connected to it."""

    def __init__(self, rig: Rig, kind: Kind):
        self.rig = rig
        self.kind = kind
        rig.broker_url = kind.url
        self.server = serve(rig, kind)

    def worker(self, **options: Any) -> Process:
        """Start a worker of one slot."""
        volumes = {f"{self.rig.name}-broker": {"bind": FOLDER, "mode": "rw"}}
        told = {
            "CELERYKIT_LONGEST_JOB": LONGEST_JOB,
            "CELERY_WORKER_CONCURRENCY": 1,
            **settings(self.kind),
            **options,
        }
        return self.rig.worker("prefork", "others", working_dir="/app/current", volumes=volumes, **told)

    def submit(self, worker: Process, number: int, seconds: float) -> None:
        """Submit jobs from where the worker is: nobody else reaches this broker."""
        worker.sh(f"cd /app/current && python -m celerykit_submit {number} {seconds}")


def serve(rig: Rig, kind: Kind) -> Process | None:
    """Start the server of a broker or result backend, if it has one, and return it when it answers."""
    if not kind.server:
        return None
    if kind.image:
        volumes = {f"{rig.name}-server": {"bind": "/data", "mode": "rw"}}
        server = rig.run(kind.image, name="server", command=["sh", "-c", kind.server], volumes=volumes)
    else:
        here = {"entrypoint": ["sh"], "working_dir": "/app/current"}
        server = rig.celery(["-c", kind.server], "others", LOGIN, name="server", **here)
    wait_answering(server, kind.port)
    return server


def wait_answering(server: Process, port: int) -> None:
    """Wait until a server takes connections."""
    ask = ["bash", "-c", f": </dev/tcp/127.0.0.1/{port}"]
    until(lambda: server.container.exec_run(ask).exit_code == 0, 90, lambda: f"port {port} answers:\n{server.logs}")


@pytest.fixture
def on(rig: Rig, installed: str) -> Callable[[Kind], Broker]:
    """Give a rig with the app a broker."""
    rig.app = installed
    return lambda kind: Broker(rig, kind)


def assert_all_done(rig: Rig, seconds: float) -> None:
    """Every accepted job is done."""
    until(
        lambda: rig.ledger.account().accepted and not rig.ledger.account().lost,
        seconds,
        lambda: str(rig.ledger.account()),
    )


@BY_TIME
def test_a_killed_workers_job_runs_again_when_its_time_is_over(on: Callable[[Kind], Broker], kind: Kind) -> None:
    """The broker hands it on when the longest job could have ended, as the loader tells it."""
    broker = on(kind)
    worker = broker.worker()
    broker.submit(worker, 1, 3.0)
    wait_running(broker.rig)
    worker.signal("SIGKILL")
    broker.worker()
    assert_all_done(broker.rig, LONGEST_JOB + 10 + 30)


@ALL
def test_jobs_survive_a_stop(on: Callable[[Kind], Broker], kind: Kind) -> None:
    """What runs ends, what waits is done by the next worker, and nothing runs twice."""
    broker = on(kind)
    told = {} if kind is SQS else {"CELERYKIT_DELIVERY": "at-most-once"}
    worker = broker.worker(**told)
    broker.submit(worker, 4, 2.0)
    wait_running(broker.rig)
    worker.stop()
    assert worker.wait_exit(5) == 0
    assert not broker.rig.ledger.account().running
    broker.worker(**told)
    assert_all_done(broker.rig, 60)
    assert not broker.rig.ledger.account().started_twice


@FORGETFUL
def test_a_broker_that_forgets_is_refused_for_at_least_once(on: Callable[[Kind], Broker], kind: Kind) -> None:
    """The worker does not start, and says which broker loses what, and what to take instead."""
    worker = on(kind).worker(ready=False)
    refused(worker, "it is lost when the worker dies", "CELERYKIT_DELIVERY=at-most-once")


@FORGETFUL
def test_a_broker_that_forgets_loses_the_job_of_a_killed_worker(on: Callable[[Kind], Broker], kind: Kind) -> None:
    """What it is refused for is so: if a release of Kombu ends it, the table is wrong."""
    broker = on(kind)
    worker = broker.worker(CELERYKIT_DELIVERY="at-most-once")
    broker.submit(worker, 2, 3.0)
    wait_running(broker.rig)
    worker.signal("SIGKILL")
    broker.worker(CELERYKIT_DELIVERY="at-most-once")
    until(lambda: len(broker.rig.ledger.account().done) == 1, 60, "the end of the job that waited")
    assert len(broker.rig.ledger.account().lost) == 1
