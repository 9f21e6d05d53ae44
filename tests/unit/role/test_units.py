"""The units of a host, against a systemd that is played."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.role.conftest import ROOT, load

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("ansible", reason="ansible-core needs Python 3.11")
celery_units = load(ROOT / "plugins" / "modules" / "celery_units.py")

UMBRELLA, A, B, BEAT = "celeryd.service", "celeryd@a.service", "celeryd@b.service", "celerybeat.service"
WANTED = [UMBRELLA, A, B]


class Systemd:
    """Starts, stops and enables units at a word, unless it is told that one is broken."""

    def __init__(self, enabled: tuple[str, ...] = (), active: tuple[str, ...] = (), broken: tuple[str, ...] = ()):
        self.enabled = {*enabled}
        self.states = {**dict.fromkeys(active, "active"), **dict.fromkeys(broken, "activating")}
        self.broken = {*broken}

    def __call__(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Answer one call."""
        unit = arguments[-1] if arguments else ""
        text, code = "", 0
        if verb == "is-enabled":
            code = int(unit not in self.enabled)
        elif verb == "show":
            text = self.states.get(unit, "inactive") if "ActiveState" in arguments[1] else "said so"
        elif verb in {"enable", "disable"}:
            (self.enabled.update if verb == "enable" else self.enabled.difference_update)(arguments)
        elif verb in {"start", "restart"}:
            pools = [name for name in self.enabled if "@" in name] if unit == UMBRELLA else []
            self.states |= dict.fromkeys({unit, *pools} - self.broken, "active")
            code = int(unit in self.broken)
        elif verb == "stop":
            self.states[unit] = "inactive"
        return subprocess.CompletedProcess(arguments, code, text, "Job failed." if code else "")


@pytest.fixture(autouse=True)
def no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of this machine have no say."""
    monkeypatch.setattr(celery_units, "journal", lambda unit: f"journal of {unit}")


@pytest.fixture
def pending(tmp_path: Path) -> Path:
    """Return the folder of pending units."""
    return tmp_path


def converge(
    systemd: Systemd,
    pending: Path,
    *touched: str,
    wanted: list[str] = WANTED,
    if_enabled: tuple[str, ...] = (),
    **options: Any,
) -> list[str]:
    """Run the module and return what it did."""
    for unit in touched:
        (pending / unit).touch()
    parameters = {"wanted": wanted, "if_enabled": if_enabled, "unwanted": [BEAT]}
    units = celery_units.Units(parameters, pending, systemd, **options)
    return [line.removeprefix("systemctl ") for line in units.converge({*touched})]


def test_a_first_start_starts_once(pending: Path) -> None:
    """On a fresh host every pool is enabled and started by the umbrella, and none is restarted."""
    done = converge(Systemd(), pending, "daemon-reload", A, B)
    assert done == [f"enable {UMBRELLA} {A} {B}", "daemon-reload", f"start {UMBRELLA}"]
    assert list(pending.iterdir()) == []


def test_what_runs_is_left_alone(pending: Path) -> None:
    """A second run does nothing."""
    assert converge(Systemd(enabled=(*WANTED,), active=(*WANTED,)), pending) == []


def test_only_what_changed_is_restarted(pending: Path) -> None:
    """A changed pool is restarted, the other one and the umbrella are not."""
    assert converge(Systemd(enabled=(*WANTED,), active=(*WANTED,)), pending, B) == [f"restart {B}"]
    assert list(pending.iterdir()) == []


def test_a_new_pool_is_started_beside_the_others(pending: Path) -> None:
    """It is enabled and started; the others go on."""
    done = converge(Systemd(enabled=(UMBRELLA, A), active=(UMBRELLA, A)), pending, B)
    assert done == [f"enable {B}", f"start {B}"]


def test_a_pool_that_left_is_drained_last(pending: Path) -> None:
    """Its successor consumes before it stops, and it does not come back at the next boot."""
    systemd = Systemd(enabled=(*WANTED,), active=(*WANTED,))
    done = converge(
        systemd, pending, "daemon-reload", A, "celeryd@new.service", wanted=[UMBRELLA, "celeryd@new.service", B]
    )
    assert done == [
        "enable celeryd@new.service",
        "daemon-reload",
        f"disable {A}",
        "start celeryd@new.service",
        f"stop {A}",
    ]


def test_a_broken_pool_that_left_is_in_nobody_s_way(pending: Path) -> None:
    """It is disabled before anything else is started."""
    systemd = Systemd(enabled=(*WANTED,), active=(UMBRELLA, A), broken=(B,))
    assert converge(systemd, pending, A, B, wanted=[UMBRELLA, A]) == [f"disable {B}", f"restart {A}", f"stop {B}"]


def test_a_pool_that_does_not_come_back_ends_the_round(pending: Path) -> None:
    """The pools after it go on as they were and stay pending; the error has its name, its state and its journal."""
    systemd = Systemd(enabled=(*WANTED,), active=(UMBRELLA, B), broken=(A,))
    with pytest.raises(celery_units.UnitError, match=f"restart {A}: Job failed.\n{A}: activating.*journal of {A}"):
        converge(systemd, pending, A, B)
    assert systemd.states[B] == "active"
    assert {path.name for path in pending.iterdir()} == {A, B}


def test_the_umbrella_is_asked_again_whether_all_run(pending: Path) -> None:
    """A pool that fails while another one starts fails the play, though systemd calls the umbrella well."""
    with pytest.raises(celery_units.UnitError, match=A):
        converge(Systemd(broken=(A,)), pending, A, B)


def test_a_unit_that_is_not_wanted_is_stopped(pending: Path) -> None:
    """Beat does not go on, enabled or not, on a host that is not to run it any more."""
    on = Systemd(enabled=(*WANTED,), active=(*WANTED, BEAT))
    assert converge(on, pending) == [f"disable {BEAT}", f"stop {BEAT}"]


def test_what_a_run_does_not_deploy_is_not_enabled(pending: Path) -> None:
    """`--tags app` restarts what reads the app, and leaves a new pool, whose files are not there yet, alone."""
    systemd = Systemd(enabled=(UMBRELLA, A), active=(UMBRELLA, A))
    assert converge(systemd, pending, A, B, if_enabled=(UMBRELLA, A, B)) == [f"restart {A}"]
    assert B not in systemd.enabled


def test_check_mode_says_what_it_would_do(pending: Path) -> None:
    """Nothing is asked of systemd but how things are."""
    systemd = Systemd()
    done = converge(systemd, pending, A, B, check_mode=True)
    assert f"start {UMBRELLA}" in done
    assert (systemd.enabled, systemd.states) == (set(), {})
    assert {path.name for path in pending.iterdir()} == {A, B}


def test_without_a_running_systemd_units_are_enabled(pending: Path) -> None:
    """In the build of an image nothing is started; the machine's first boot does that."""
    assert converge(Systemd(), pending, A, B, booted=False) == [f"enable {UMBRELLA} {A} {B}"]
