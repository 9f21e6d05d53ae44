"""The umbrella's verbs, against a systemd that is played."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from celerykit.host import umbrella
from tests.unit.host.systemd import DEAD, RUNS, Systemd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listen as systemd does to the umbrella."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield channel


def lines(channel: socket.socket) -> list[str]:
    """Return what was told so far."""
    found: list[str] = []
    try:
        while True:
            found += channel.recv(4096).decode().splitlines()
    except BlockingIOError:
        return found


def test_a_start_waits_for_every_enabled_pool(told: socket.socket) -> None:
    """The umbrella is up when its pools are, and says which."""
    systemd = Systemd({"default": RUNS, "imports": RUNS})
    umbrella.run(systemd, looks=[])
    assert systemd.done == [("start", "celeryd@default.service", "celeryd@imports.service")]
    assert lines(told)[-2:] == ["STATUS=2 of 2 pools run: default, imports", "READY=1"]


def test_a_dead_pool_shows_in_the_status_and_does_not_end_the_others(told: socket.socket) -> None:
    """One pool that cannot start is named with its reason; the umbrella is up for the rest."""
    umbrella.run(Systemd({"default": RUNS, "imports": DEAD}), looks=[])
    assert lines(told)[-2:] == ["STATUS=1 of 2 pools run; not: imports is failed (exit code 78)", "READY=1"]


def test_the_umbrella_fails_when_no_pool_starts(told: socket.socket) -> None:
    """`systemctl start celeryd` must not say that it worked when nothing consumes."""
    with pytest.raises(umbrella.PoolsError, match=r"no pool started: imports is failed \(exit code 78\)"):
        umbrella.run(Systemd({"imports": DEAD}), looks=[])
    assert "READY=1" not in lines(told)


def test_without_an_enabled_pool_the_umbrella_says_how_to_enable_one(told: socket.socket) -> None:
    """A fresh installation is no failure."""
    systemd = Systemd({})
    umbrella.run(systemd, looks=[])
    assert systemd.done == []
    assert "STATUS=no pool is enabled: systemctl enable --now celeryd@POOL" in lines(told)


def test_a_pool_that_dies_later_shows(told: socket.socket) -> None:
    """The umbrella's status stays true while it runs, and is told only when it changes."""
    systemd = Systemd({"default": dict(RUNS), "imports": dict(RUNS)})

    def looks() -> Iterator[None]:
        yield
        systemd.units["celeryd@imports.service"] |= {
            "ActiveState": "activating",
            "SubState": "auto-restart",
            "Result": "signal",
            "ExecMainStatus": "9",
        }
        yield
        yield

    umbrella.run(systemd, looks())
    wanted = "STATUS=1 of 2 pools run; not: imports is activating (killed by signal 9, starts again by itself)"
    assert lines(told)[-1] == wanted


def test_a_pool_that_tries_again_says_how_often(told: socket.socket) -> None:
    """A pool that fails again and again is not taken for one that starts for the first time."""
    trying = {**RUNS, "ActiveState": "activating", "SubState": "start", "NRestarts": "4"}
    umbrella.run(Systemd({"default": RUNS, "imports": trying}), looks=[])
    assert "STATUS=1 of 2 pools run; not: imports is activating (restart number 4)" in lines(told)


def test_a_start_does_not_wait_for_the_next_attempt_of_a_pool_that_failed(told: socket.socket) -> None:
    """The attempt that systemd makes by itself may be a minute off: `start celeryd` begins anew."""
    waiting = {**DEAD, "ActiveState": "activating", "SubState": "auto-restart"}
    systemd = Systemd({"default": RUNS, "imports": waiting})
    umbrella.run(systemd, looks=[])
    both = ("start", "celeryd@default.service", "celeryd@imports.service")
    assert systemd.done == [("stop", "celeryd@imports.service"), both]


def test_the_status_goes_on_after_a_moment_without_memory(told: socket.socket) -> None:
    """Where no program can be started for a while, the umbrella stays."""
    systemd = Systemd({"default": dict(RUNS)})

    def starved(*_: str) -> subprocess.CompletedProcess[str]:
        raise OSError("Cannot allocate memory")

    calls = iter([systemd] * 4 + [starved] + [systemd] * 2)

    def looks() -> Iterator[None]:
        yield
        systemd.units["celeryd@default.service"] |= DEAD
        yield

    umbrella.run(lambda *arguments: next(calls)(*arguments), looks())
    assert lines(told)[-1] == "STATUS=0 of 1 pools run; not: default is failed (exit code 78)"


@pytest.mark.parametrize(("result", "started"), [("signal", True), ("oom-kill", True), ("success", False)])
def test_a_killed_umbrella_is_started_again(result: str, started: bool) -> None:
    """By a start, which leaves running pools alone; one that was stopped stays so."""
    systemd = Systemd({})
    umbrella.revive({"SERVICE_RESULT": result}, systemd, lambda _: None)
    assert systemd.done == [("start", "--no-block", "--job-mode=fail", "celeryd.service")] * started


def test_an_umbrella_that_found_no_pool_to_start_stays_failed() -> None:
    """It is to be seen in `systemctl --failed`."""
    systemd = Systemd({})
    umbrella.revive({"SERVICE_RESULT": "exit-code"}, systemd, lambda _: None)
    assert systemd.done == []


@pytest.mark.parametrize(
    ("failed", "restarts", "started"), [(True, "2", True), (True, "0", False), (False, "2", False)]
)
def test_a_pool_that_came_up_at_last_brings_up_the_umbrella(failed: bool, restarts: str, started: bool) -> None:
    """Only one that failed for want of a pool: a pool started by hand does not start the others."""
    systemd = Systemd({"default": {**RUNS, "NRestarts": restarts}})
    systemd.failed = failed
    umbrella.rejoin(systemd)
    assert systemd.done == [("start", "--no-block", "--job-mode=fail", "celeryd.service")] * started


def test_a_pool_that_is_up_but_for_the_unit_s_last_step_is_not_stopped(told: socket.socket) -> None:
    """The umbrella that it brings up must not take it for one that tries again in vain."""
    up = {**RUNS, "ActiveState": "activating", "SubState": "start-post", "NRestarts": "3"}
    systemd = Systemd({"default": up, "imports": RUNS})
    umbrella.run(systemd, looks=[])
    assert [verb for verb, *_ in systemd.done] == ["start"]


def test_a_stop_reaches_the_disabled_pools_too() -> None:
    """A pool started by hand is drained with the others, and its drain is waited for."""
    systemd = Systemd({"default": RUNS}, {"by-hand": RUNS})
    umbrella.stop(systemd)
    assert systemd.done == [("stop", "celeryd@*.service")]


def test_a_reload_restarts_one_pool_after_the_other() -> None:
    """Enabled pools and running ones, each waited for; a disabled dead one stays dead."""
    systemd = Systemd({"default": RUNS, "imports": DEAD}, {"by-hand": RUNS, "old": DEAD})
    umbrella.reload(systemd)
    assert systemd.done == [("restart", f"celeryd@{pool}.service") for pool in ("by-hand", "default", "imports")]


def test_a_reload_ends_at_a_pool_that_does_not_come_back() -> None:
    """A bad release takes down one pool and no more, and the caller is told."""
    systemd = Systemd({"a": RUNS, "b": RUNS, "c": RUNS})
    systemd.refuses = {"celeryd@b.service"}
    with pytest.raises(umbrella.PoolsError, match=r"celeryd@b\.service did not come back.*Job failed"):
        umbrella.reload(systemd)
    assert ("restart", "celeryd@c.service") not in systemd.done
