"""A start that takes its time, and one that takes too long."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from celerykit.config import settings
from celerykit.health import starting, statefile
from celerykit.health.watchdog import Pulse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Run

SLOW = """
import sys, time
from celerykit.config import settings
from celerykit.health import starting

def loads_a_model(seconds):
    time.sleep(seconds)

own = settings.Settings(stuck_after=0.4, start_within=float(sys.argv[2]), state_dir=sys.argv[1])
pulse = starting.begin("worker", "default", own)
loads_a_model(3)
print("loaded", flush=True)
pulse.ready("consuming")
loads_a_model(3)
print("turned", flush=True)
"""


def test_a_start_may_take_longer_than_what_is_stuck(python: Run, tmp_path: Path) -> None:
    """Only once it has been ready is a process without progress stuck; meanwhile the log says where it is."""
    answer = python("-c", SLOW, str(tmp_path), "60")
    assert (answer.returncode, answer.stdout) == (1, "loaded\n")
    assert "celerykit: still starting after 1 s, at <string>:" in answer.stderr
    assert "in loads_a_model: it is ended as stuck after 60 s (CELERYKIT_START_WITHIN)" in answer.stderr
    assert "Timeout (0:00:00.4" in answer.stderr


def test_a_start_that_takes_too_long_is_ended_with_its_stacks(python: Run, tmp_path: Path) -> None:
    """By a bound of its own, of which the log has told."""
    answer = python("-c", SLOW, str(tmp_path), "2")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "it is ended as stuck after 2 s (CELERYKIT_START_WITHIN)" in answer.stderr
    assert "Timeout (0:00:02)" in answer.stderr and " in loads_a_model" in answer.stderr


def test_who_starts_is_alive_and_not_ready(tmp_path: Path) -> None:
    """From before the app is imported: a probe that asks whether to end it says no."""
    own = settings.Settings(stuck_after=600.0, start_within=1800.0, state_dir=str(tmp_path))
    pulse = starting.begin("worker", "mail", own)
    try:
        state = statefile.read(statefile.path(str(tmp_path), "worker", "mail"))
        assert state is not None and state.alive_until - time.monotonic() == pytest.approx(1800, abs=5)
        assert statefile.judge(state, "live") == (True, "starting: importing the app")
        assert not statefile.judge(state, "ready")[0] and not statefile.judge(state, "started")[0]
        assert starting.pulse_of("worker", "mail", own) is pulse
    finally:
        pulse.stop()
        starting._begun.clear()


@pytest.mark.parametrize("away", [True, False], ids=["away", "slow"])
def test_systemd_is_asked_for_more_time_unless_a_broker_is_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, away: bool
) -> None:
    """Whoever starts a unit whose broker is away is told so after its time-out, and who loads a model is waited for."""
    monkeypatch.setattr(starting, "PACE", 0.0)
    monkeypatch.setattr(starting, "LOOK", 0.05)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{tmp_path}/notify")
        manager.settimeout(1.0)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/notify")
        pulse = Pulse(f"{tmp_path}/worker-default.json", 600.0, 1800.0)
        if away:
            pulse.beat()
            assert manager.recv(100).startswith(b"WATCHDOG=1")
        starting._beside(lambda: starting._report(pulse, settings.Settings(), 0))
        try:
            if away:
                with pytest.raises(TimeoutError):
                    manager.recv(100)
            else:
                assert manager.recv(100) == b"EXTEND_TIMEOUT_USEC=60000000"
        finally:
            pulse.stop()


def test_a_start_is_spoken_of_ever_more_rarely() -> None:
    """And once more when its end is near."""
    assert starting.reminders(60.0, 1800.0) == [60, 120, 240, 480, 960, 1620]
    assert starting.reminders(60.0, 50.0) == [45]
    assert "starting.py:" in starting.reminder(60.0, 1800.0, threading.get_ident())
