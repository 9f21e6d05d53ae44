"""The units of a host, against a manager that is played."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.role.conftest import ROOT, load

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("ansible", reason="ansible-core needs Python 3.11")
celery_units = load(ROOT / "plugins" / "modules" / "celery_units.py")

UMBRELLA, A, B, BEAT = "celeryd", "celeryd@a", "celeryd@b", "celerybeat"
WANTED = [UMBRELLA, A, B]


class Manager:
    """Starts, stops and enables units at a word, unless it is told that one is broken."""

    name = "manager"

    def __init__(
        self,
        enabled: tuple[str, ...] = (),
        active: tuple[str, ...] = (),
        broken: tuple[str, ...] = (),
        *,
        booted: bool = True,
    ):
        self.enabled = {*enabled}
        self.states = {**dict.fromkeys(active, "active"), **dict.fromkeys(broken, "activating")}
        self.broken = {*broken}
        self.booted = booted

    def is_enabled(self, unit: str) -> bool:
        """Say whether a unit is enabled."""
        return unit in self.enabled

    def state(self, unit: str) -> str:
        """Return how it is."""
        return self.states.get(unit, "inactive")

    def why(self, unit: str) -> str:
        """Return what it has said."""
        return f"{self.state(unit)}, journal of {unit}"

    def do(self, verb: str, *units: str) -> Any:
        """Obey."""
        unit = units[-1] if units else ""
        if verb in {"enable", "disable"}:
            (self.enabled.update if verb == "enable" else self.enabled.difference_update)(units)
        elif verb in {"start", "restart"}:
            pools = [name for name in self.enabled if "@" in name] if unit == UMBRELLA else []
            self.states |= dict.fromkeys({unit, *pools} - self.broken, "active")
        elif verb == "stop":
            self.states[unit] = "inactive"
        failed = verb in {"start", "restart"} and unit in self.broken
        return celery_units.Answer(int(failed), "Job failed." if failed else "")


@pytest.fixture
def pending(tmp_path: Path) -> Path:
    """Return the folder of pending units."""
    return tmp_path


def converge(
    manager: Manager,
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
    units = celery_units.Units(parameters, pending, manager, **options)
    return [line.removeprefix("manager ") for line in units.converge({*touched})]


def test_a_first_start_starts_once(pending: Path) -> None:
    """On a fresh host every pool is enabled and started by the umbrella, and none is restarted."""
    done = converge(Manager(), pending, "daemon-reload", A, B)
    assert done == [f"enable {UMBRELLA} {A} {B}", "daemon-reload", f"start {UMBRELLA}"]
    assert list(pending.iterdir()) == []


def test_what_runs_is_left_alone(pending: Path) -> None:
    """A second run does nothing."""
    assert converge(Manager(enabled=(*WANTED,), active=(*WANTED,)), pending) == []


def test_only_what_changed_is_restarted(pending: Path) -> None:
    """A changed pool is restarted, the other one and the umbrella are not."""
    assert converge(Manager(enabled=(*WANTED,), active=(*WANTED,)), pending, B) == [f"restart {B}"]
    assert list(pending.iterdir()) == []


def test_a_new_pool_is_started_beside_the_others(pending: Path) -> None:
    """It is enabled and started; the others go on."""
    done = converge(Manager(enabled=(UMBRELLA, A), active=(UMBRELLA, A)), pending, B)
    assert done == [f"enable {B}", f"start {B}"]


def test_a_pool_that_left_is_drained_last(pending: Path) -> None:
    """Its successor consumes before it stops, and it does not come back at the next boot."""
    manager = Manager(enabled=(*WANTED,), active=(*WANTED,))
    done = converge(manager, pending, "daemon-reload", A, "celeryd@new", wanted=[UMBRELLA, "celeryd@new", B])
    assert done == [
        "enable celeryd@new",
        "daemon-reload",
        f"disable {A}",
        "start celeryd@new",
        f"stop {A}",
    ]


def test_a_broken_pool_that_left_is_in_nobody_s_way(pending: Path) -> None:
    """It is disabled before anything else is started."""
    manager = Manager(enabled=(*WANTED,), active=(UMBRELLA, A), broken=(B,))
    assert converge(manager, pending, A, B, wanted=[UMBRELLA, A]) == [f"disable {B}", f"restart {A}", f"stop {B}"]


def test_a_pool_that_does_not_come_back_ends_the_round(pending: Path) -> None:
    """The pools after it go on as they were and stay pending; the error has its name, its state and its journal."""
    manager = Manager(enabled=(*WANTED,), active=(UMBRELLA, B), broken=(A,))
    with pytest.raises(celery_units.UnitError, match=f"restart {A}: Job failed.\n{A}: activating.*journal of {A}"):
        converge(manager, pending, A, B)
    assert manager.states[B] == "active"
    assert {path.name for path in pending.iterdir()} == {A, B}


def test_the_umbrella_is_asked_again_whether_all_run(pending: Path) -> None:
    """A pool that fails while another one starts fails the play, though manager calls the umbrella well."""
    with pytest.raises(celery_units.UnitError, match=A):
        converge(Manager(broken=(A,)), pending, A, B)


def test_a_unit_that_is_not_wanted_is_stopped(pending: Path) -> None:
    """Beat does not go on, enabled or not, on a host that is not to run it any more."""
    on = Manager(enabled=(*WANTED,), active=(*WANTED, BEAT))
    assert converge(on, pending) == [f"disable {BEAT}", f"stop {BEAT}"]


def test_what_a_run_does_not_deploy_is_not_enabled(pending: Path) -> None:
    """`--tags app` restarts what reads the app, and leaves a new pool, whose files are not there yet, alone."""
    manager = Manager(enabled=(UMBRELLA, A), active=(UMBRELLA, A))
    assert converge(manager, pending, A, B, if_enabled=(UMBRELLA, A, B)) == [f"restart {A}"]
    assert B not in manager.enabled


def test_check_mode_says_what_it_would_do(pending: Path) -> None:
    """Nothing is asked of manager but how things are."""
    manager = Manager()
    done = converge(manager, pending, A, B, check_mode=True)
    assert f"start {UMBRELLA}" in done
    assert (manager.enabled, manager.states) == (set(), {})
    assert {path.name for path in pending.iterdir()} == {A, B}


def test_without_a_running_manager_units_are_enabled(pending: Path) -> None:
    """In the build of an image nothing is started; the machine's first boot does that."""
    assert converge(Manager(booted=False), pending, A, B) == [f"enable {UMBRELLA} {A} {B}"]
