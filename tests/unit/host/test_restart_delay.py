"""The delay before another try of a configuration that was refused."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from celerykit.errors import ConfigurationError, Finding
from celerykit.host.restart_delay import HoldOff

if TYPE_CHECKING:
    from pathlib import Path

REFUSAL = ConfigurationError(Finding("CELERY_WORKER_X", "1", "worker-imports.env:1", "no option", "Remove it"))


class Unit:
    """A pool under a systemd that is played."""

    def __init__(self, folder: Path, **properties: str):
        self.restarts = 0
        self.properties = properties
        self._environ = {"INVOCATION_ID": "1", "RUNTIME_DIRECTORY": str(folder)}

    def start(self, refusal: ConfigurationError | None = REFUSAL) -> float:
        """Start it, and return the seconds that it waited before it looked at its configuration."""
        waits: list[float] = []
        hold_off = HoldOff("worker", "imports", self._environ, self._systemctl)
        hold_off.wait(waits.append)
        if refusal:
            hold_off.refused(refusal)
        return sum(waits)

    def restart(self, refusal: ConfigurationError | None = REFUSAL) -> float:
        """Start it as systemd does by itself."""
        self.restarts += 1
        return self.start(refusal)

    def _systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        assert arguments[-1] == "celeryd@imports.service"
        shown = {"NRestarts": str(self.restarts), **self.properties}
        return subprocess.CompletedProcess(
            arguments, 0, "".join(f"{name}={text}\n" for name, text in shown.items()), ""
        )


def test_the_delay_rises_to_a_minute(tmp_path: Path) -> None:
    """A pool that nobody mends tries again ever more seldom, and never stops."""
    unit = Unit(tmp_path)
    assert [unit.start(), *(unit.restart() for _ in range(7))] == [0, 2, 4, 8, 16, 32, 60, 60]


def test_a_start_by_hand_is_answered_at_once(tmp_path: Path) -> None:
    """The count of systemd 252, which goes on over `systemctl restart`, does not tell who started."""
    unit = Unit(tmp_path)
    unit.start()
    unit.restart()
    assert unit.start() == 0


def test_a_pool_that_was_mended_comes_back_at_once_after_a_kill(tmp_path: Path) -> None:
    """A refusal of long ago is forgotten with the first start that was accepted."""
    unit = Unit(tmp_path)
    unit.start()
    unit.start(None)
    assert unit.restart(None) == 0


def test_a_systemd_whose_own_delay_rises_needs_no_other(tmp_path: Path) -> None:
    """From 254 on, with the drop-in that comes with the units."""
    unit = Unit(tmp_path, RestartSteps="6")
    assert [unit.start(), unit.restart(), unit.restart()] == [0, 0, 0]


@pytest.mark.parametrize("missing", [True, False])
def test_without_systemd_nothing_waits(tmp_path: Path, *, missing: bool) -> None:
    """In a container, or by hand, an error is an error at once."""

    def systemctl(*_: str) -> subprocess.CompletedProcess[str]:
        raise FileNotFoundError("systemctl")

    environ = {"RUNTIME_DIRECTORY": str(tmp_path), **({} if missing else {"INVOCATION_ID": "1"})}
    for _ in range(2):
        hold_off = HoldOff("worker", "imports", environ, systemctl)
        hold_off.wait(lambda _: pytest.fail("waited"))
        hold_off.refused(REFUSAL)
