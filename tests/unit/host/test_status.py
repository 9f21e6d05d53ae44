"""The answer of ``celerykit status``."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from celerykit import instance
from celerykit.health.statefile import State, write
from celerykit.host import status, umbrella
from tests.unit.host.systemd import DEAD, RUNS, Systemd

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of state files, on a machine that systemd has booted."""
    monkeypatch.setattr(status, "BOOTED_BY_SYSTEMD", tmp_path)
    return tmp_path


def say(folder: Path, pool: str, *, ready: bool, reason: str) -> None:
    """Write what a worker says of itself; it is this process."""
    write(f"{folder}/worker-{pool}.json", State(os.getpid(), time.monotonic() + 60, ready, reason))


def ask(folder: Path, systemctl: umbrella.Systemctl) -> dict[str, status.Status]:
    """Return the status of each pool."""
    environ = {"CELERYKIT_CONFIG_DIR": str(folder), "CELERYKIT_STATE_DIR": str(folder)}
    return {one.pool: one for one in status.status(environ, systemctl)}


def test_a_pool_that_consumes_is_well(folder: Path) -> None:
    """Its PID and what it consumes are shown."""
    say(folder, "default", ready=True, reason="consuming celery")
    one = ask(folder, Systemd({"default": {**RUNS, "MainPID": str(os.getpid())}}))["default"]
    assert one.well and one.ready
    assert str(os.getpid()) in str(one) and "consuming celery" in str(one)


def test_a_pool_s_size_and_its_last_change_are_shown(folder: Path) -> None:
    """How many jobs at once, and why it is not what it began with; nothing where the file is of a version without."""
    state = State(os.getpid(), time.monotonic() + 60, True, "consuming celery", 6, "9 jobs wait")
    write(f"{folder}/worker-default.json", state)
    systemd = Systemd({"default": {**RUNS, "MainPID": str(os.getpid())}})
    assert "consuming celery; concurrency 6 (9 jobs wait)" in str(ask(folder, systemd)["default"])
    say(folder, "default", ready=True, reason="consuming celery")
    assert str(ask(folder, systemd)["default"]).endswith("consuming celery")


def test_jobs_that_wait_for_their_time_are_counted(folder: Path) -> None:
    """They are in no queue, and no worker's yet."""
    state = State(os.getpid(), time.monotonic() + 60, True, "consuming celery", 6, waiting=1100)
    write(f"{folder}/worker-default.json", state)
    systemd = Systemd({"default": {**RUNS, "MainPID": str(os.getpid())}})
    assert str(ask(folder, systemd)["default"]).endswith("concurrency 6; 1100 jobs wait for their time")


def test_what_status_says_can_be_scraped(celerykit: Run, tmp_path: Path, etc: Path) -> None:
    """A pool's size, and that it wants another one, as Prometheus reads it; one that is not there says so itself."""
    (etc / "worker-imports.env").touch()
    state = State(
        os.getpid(), time.monotonic() + 60, True, "consuming celery", 6, "9 jobs wait", advised=True, waiting=7
    )
    write(f"{tmp_path}/worker-default.json", state)
    (etc / "worker-default.env").touch()
    told = celerykit("status", "--format", "prometheus")
    assert told.returncode == 0, told.stderr
    samples = {
        (sample.name.removeprefix("celerykit_worker_"), sample.labels["pool"]): sample.value
        for family in text_string_to_metric_families(told.stdout)
        for sample in family.samples
    }
    assert samples == {
        ("wanted", "default"): 1,
        ("ready", "default"): 1,
        ("concurrency", "default"): 6,
        ("restart_advised", "default"): 1,
        ("waiting", "default"): 7,
        ("wanted", "imports"): 1,
        ("ready", "imports"): 0,
    }


def test_a_pool_that_lost_its_broker_is_not_well(folder: Path) -> None:
    """Running is not working."""
    say(folder, "default", ready=False, reason="not consuming: the connection to the broker is lost")
    one = ask(folder, Systemd({"default": {**RUNS, "MainPID": str(os.getpid())}}))["default"]
    assert not one.well and one.unit == "active"
    assert "the connection to the broker is lost" in str(one)


def test_a_dead_enabled_pool_is_not_well(folder: Path) -> None:
    """It says how it ended."""
    one = ask(folder, Systemd({"imports": DEAD}))["imports"]
    assert not one.well and "exit code 78" in str(one)


def test_a_pool_that_is_not_enabled_is_no_failure(folder: Path) -> None:
    """An env file alone starts nothing, and status says so."""
    (folder / "worker-spare.env").touch()
    systemd = Systemd({}, {"spare": {**DEAD, "ActiveState": "inactive", "Result": "success"}})
    one = ask(folder, systemd)["spare"]
    assert one.well and "(not enabled)" in str(one)


def test_the_file_of_a_predecessor_is_not_believed(folder: Path) -> None:
    """What another process said is not what the unit's process says."""
    say(folder, "default", ready=True, reason="consuming celery")
    assert not ask(folder, Systemd({"default": {**RUNS, "MainPID": "1"}}))["default"].well


def test_without_systemd_the_state_files_answer(celerykit: Run, tmp_path: Path, etc: Path) -> None:
    """In a container `celerykit status` works too, and its exit code is 1 while a pool is not ready."""
    (etc / "worker-imports.env").touch()
    no = celerykit("status")
    say(tmp_path, "imports", ready=True, reason="consuming imports")
    yes = celerykit("status", "--format", "json")
    assert (no.returncode, yes.returncode) == (1, 0), yes.stderr
    assert "not started yet" in no.stdout
    assert '"reason": "consuming imports"' in yes.stdout


def test_a_worker_that_may_not_write_where_units_do_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container without a writable `/run/celery`, say; what the units have there is looked at first."""
    units, own = tmp_path / "units", tmp_path / f"celerykit-{os.getuid()}"
    units.mkdir()
    monkeypatch.setattr(instance, "STATE_DIR", str(units))
    monkeypatch.setattr(os, "access", lambda *_: False)
    environ = {"CELERYKIT_CONFIG_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    say(own, "default", ready=True, reason="consuming celery")
    assert [one.reason for one in status.status(environ)] == ["consuming celery"]
    say(units, "default", ready=True, reason="consuming mail")
    assert [one.reason for one in status.status(environ)] == ["consuming mail"]


def test_a_container_of_another_pool_speaks_of_that_pool(tmp_path: Path) -> None:
    """Where no pool has an env file, those that have written how they are are there."""
    say(tmp_path, "imports", ready=True, reason="consuming imports")
    assert list(ask(tmp_path, Systemd({}))) == ["imports"]
    (tmp_path / "worker-imports.json").unlink()
    assert list(ask(tmp_path, Systemd({}))) == ["default"]
