"""The survival tests against an app of one's own, under its own settings: ``make test APP=./myapp``.

Without one, the example of the kit takes its place.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.rig.compose import ROOT
from tests.rig.containers import Rig
from tests.rig.process import Process
from tests.rig.waiting import until

FOLDER = Path(os.environ.get("CELERYKIT_TEST_APP") or ROOT / "examples" / "sourcestats")
APP = os.environ.get("CELERY_APP") or FOLDER.resolve().name
POOL = os.environ.get("CELERY_WORKER_POOL") or "prefork"


@pytest.fixture
def yours(rig: Rig) -> Rig:
    """A rig with the app installed, and the broker; what the app needs beside them is in its own environment."""
    assert FOLDER.is_dir(), f"APP={FOLDER}: there is no such folder. Name the folder of your app, such as APP=./myapp"
    rig.redis()
    rig.install(FOLDER)
    return rig


def start(rig: Rig, **options: str) -> Process:
    """Start a worker of the app, with the jobs of the tests beside its own."""
    include = {"CELERY_WORKER_INCLUDE": "celerykit_survival", **options}
    return rig.worker(POOL, APP, working_dir="/app/current", restart=True, **include)


def test_your_jobs_survive_a_restart_under_load(yours: Rig) -> None:
    """A worker of the app restarted under load loses no job."""
    worker = start(yours)
    yours.client.work(8, 1.0)
    yours.ledger.wait_running()
    worker.container.restart(timeout=40)
    yours.assert_nothing_lost()


def test_your_jobs_survive_a_term_to_the_whole_group(yours: Rig) -> None:
    """A TERM to every process lets the running jobs end, and the others wait for the next worker."""
    worker = start(yours)
    yours.client.work(4, 2.0)
    yours.ledger.wait_running()
    worker.sh("kill -TERM -- -1; kill -TERM 1")
    yours.assert_nothing_lost()


def test_your_jobs_survive_kills(yours: Rig) -> None:
    """A killed pool child's job runs again at once, a killed worker's as soon as it is back."""
    worker = start(yours)
    yours.client.work(2, 2.0)
    yours.ledger.wait_running(2)
    if POOL == "prefork":
        worker.sh(f"kill -KILL {worker.children()[0]}")
        yours.ledger.wait_running()
    worker.kill_and_start()
    yours.assert_nothing_lost(120, twice=2)


def test_your_jobs_survive_a_restart_of_redis(yours: Rig) -> None:
    """The broker restarted under load keeps what it has accepted, and the worker finds back to it."""
    start(yours)
    yours.client.work(10, 0.5)
    yours.ledger.wait_running()
    broker = yours.processes[0]
    broker.stop()
    broker.start()
    until(yours.client.ping, 60, "Redis answers")
    yours.assert_nothing_lost(120, twice=2)


def test_your_app_passes_the_check(yours: Rig) -> None:
    """`celerykit check` finds nothing in the app by which jobs could be lost."""
    check = yours.celery(["check"], APP, working_dir="/app/current")
    until(lambda: check.state["Status"] == "exited", 120, "the check's end")
    assert check.state["ExitCode"] == 0, check.logs


def test_the_time_to_stop_is_bounded(yours: Rig) -> None:
    """A worker of the app with a job of a minute ends within its stop budget, and gives the job back."""
    worker = start(yours, CELERYKIT_STOP_TIMEOUT="10")
    yours.client.work(1, 60.0)
    yours.ledger.wait_running()
    began = time.monotonic()
    worker.stop(seconds=30)
    assert time.monotonic() - began < 25, "the job would have taken a minute"
    assert yours.client.queued() == 1
