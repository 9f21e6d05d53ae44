"""Brokers that the kit does not stand up do what docs/brokers.md says of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers.test_bad_input import refused
from tests.containers.test_survival import wait_running
from tests.rig.containers import Rig
from tests.rig.ledger import folder_in_memory
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.rig.containers import Process

APP = Path(__file__).with_name("others")
LONGEST_JOB = 5
AMAZON = "python -c \"from moto.server import main; main(['--host', '0.0.0.0', '--port', '5000'])\""
LOGIN = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class Kind:
    """A broker: its URL, what its transport must be told, and the server that it takes, if any."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    server: str = ""


SQS = Kind("sqs://any:any@server:5000", {"region": "us-east-1", "is_secure": False, "wait_time_seconds": 1}, AMAZON)
SQLITE = Kind("sqla+sqlite:////var/lib/celery/jobs.sqlite")
FILES = Kind(
    "filesystem://",
    {
        "data_folder_in": "/var/lib/celery",
        "data_folder_out": "/var/lib/celery",
        "control_folder": "/var/lib/celery/control",
    },
)
BY_TIME = pytest.mark.parametrize("kind", [SQS], ids=["sqs"])
FORGETFUL = pytest.mark.parametrize("kind", [SQLITE, FILES], ids=["sqlite", "filesystem"])
ALL = pytest.mark.parametrize("kind", [SQS, SQLITE, FILES], ids=["sqs", "sqlite", "filesystem"])
pytestmark = pytest.mark.xdist_group("others")  # so that the app is installed once


class Broker:
    """A broker of some kind in a rig, with workers that are connected to it."""

    def __init__(self, rig: Rig, kind: Kind):
        self.rig = rig
        self._options = json.dumps(kind.options)
        rig.broker_url = kind.url
        if kind.server:
            server = self._run("sh", ["-c", kind.server], name="server")
            ready = "import socket; socket.create_connection(('127.0.0.1', 5000), 1)"
            until(lambda: server.container.exec_run(["python", "-c", ready]).exit_code == 0, 60, lambda: server.logs)

    def worker(self, **options: Any) -> Process:
        """Start a worker of one slot."""
        volumes = {f"{self.rig.name}-broker": {"bind": "/var/lib/celery", "mode": "rw"}}
        told = {
            "BROKER_OPTIONS": self._options,
            "CELERYKIT_LONGEST_JOB": LONGEST_JOB,
            "CELERY_WORKER_CONCURRENCY": 1,
            **LOGIN,
            **options,
        }
        return self.rig.worker("prefork", "others", working_dir="/app/current", volumes=volumes, **told)

    def submit(self, worker: Process, number: int, seconds: float) -> None:
        """Submit jobs from where the worker is: nobody else reaches this broker."""
        worker.sh(f"cd /app/current && python -m celerykit_submit {number} {seconds}")

    def _run(self, program: str, arguments: list[str], **options: Any) -> Process:
        return self.rig.celery(arguments, "others", LOGIN, entrypoint=[program], working_dir="/app/current", **options)


@pytest.fixture(scope="module")
def installed() -> Iterator[str]:
    """The volume on which the app is, with what these brokers need."""
    with folder_in_memory() as folder:
        rig = Rig(folder)
        try:
            rig.install(APP)
            yield rig.app
        finally:
            rig.close()


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
