"""Signs of life, and the end of a process without them."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from celerykit.health import statefile
from celerykit.health.watchdog import Pulse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.conftest import Run

STUCK = """
import sys, threading, time
from celerykit.health.watchdog import Pulse

def waits_in_a_thread():
    time.sleep(60)

def is_stuck():
    time.sleep(60)

threading.Thread(target=waits_in_a_thread, daemon=True).start()
pulse = Pulse(sys.argv[1], 0.3)
pulse.ready("working")
is_stuck()
"""
HELD = """
import sys, time
from celerykit.health.watchdog import Pulse

pulse = Pulse(sys.argv[1], 0.3)
pulse.begin("job", 60)
time.sleep(0.8)
print("held", flush=True)
pulse.end("job")
time.sleep(60)
"""

BESIDE = """
import ctypes, sys, threading, time
from celerykit.health.watchdog import Pulse

def is_stuck():
    time.sleep(60)

pulse = Pulse(sys.argv[1], 3.0)
pulse.ready("working")
pulse.watch_beside_jobs()
pulse.beat()
pulse.begin("job", 60)
if sys.argv[2] == "held":
    ctypes.PyDLL(None).sleep(7)
    pulse.beat()
    time.sleep(1.5)
    print("held", flush=True)
is_stuck()
"""


@pytest.fixture
def target(tmp_path: Path) -> str:
    """Return where the state file of a test is."""
    return str(tmp_path / "worker-default.json")


@pytest.fixture
def pulse(target: str) -> Iterator[Pulse]:
    """Return a pulse that cannot end the test's process, and take its timer away after the test."""
    one = Pulse(target, 600.0)
    yield one
    one.stop()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time that it is, to be set forward."""
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listen as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield channel


def received(channel: socket.socket) -> list[str]:
    """Return the lines that came so far."""
    lines: list[str] = []
    try:
        while True:
            lines += channel.recv(4096).decode().splitlines()
    except BlockingIOError:
        return lines


def test_a_process_without_progress_ends_with_all_stacks(python: Run, target: str) -> None:
    """A stuck main thread is ended with exit code 1, and the log shows where each thread was."""
    began = time.monotonic()
    answer = python("-c", STUCK, target)
    assert answer.returncode == 1
    assert time.monotonic() - began < 30
    assert "Timeout" in answer.stderr
    assert " in is_stuck" in answer.stderr
    assert " in waits_in_a_thread" in answer.stderr


def test_a_job_of_this_process_may_hold_it_up_until_it_ends(python: Run, target: str) -> None:
    """A long solo job is no reason to end, and the time after it is watched over again."""
    answer = python("-c", HELD, target)
    assert answer.stdout == "held\n"
    assert answer.returncode == 1


@pytest.mark.parametrize("how", ["idle", "held"])
def test_a_stuck_main_thread_is_told_from_a_job_that_holds_the_interpreter(python: Run, target: str, how: str) -> None:
    """Where jobs run in other threads, the former is ended though they run, and the latter is not."""
    answer = python("-c", BESIDE, target, how)
    assert answer.stdout == ("held\n" if how == "held" else "")
    assert answer.returncode == 1
    assert " in is_stuck" in answer.stderr


def test_jobs_side_by_side_hold_for_the_longest_of_them(pulse: Pulse, target: str, clock: list[float]) -> None:
    """The end of one says nothing of the others."""
    for job, seconds in (("long", 7200.0), ("short", 1000.0)):
        pulse.begin(job, seconds)
    clock[0] += 2.0
    pulse.end("short")
    state = statefile.read(target)
    assert state is not None
    assert state.alive_until - time.monotonic() > 7000


def test_progress_is_written_once_a_second_at_most(pulse: Pulse, target: str) -> None:
    """A busy loop costs no disk: a second beat in the same second writes nothing."""
    pulse.beat()
    os.unlink(target)
    pulse.beat()
    assert not os.path.exists(target)


def test_short_jobs_write_no_more_than_progress_does(pulse: Pulse, target: str) -> None:
    """A solo worker of a thousand jobs a second does not write two thousand files."""
    pulse.begin("one", 3600.0)
    os.unlink(target)
    pulse.end("one")
    pulse.begin("two", 3600.0)
    assert not os.path.exists(target)


def test_a_hold_is_seen_by_the_probe(pulse: Pulse, target: str, clock: list[float]) -> None:
    """A probe does not call a process stuck that may be silent for a known time."""
    pulse.beat()
    pulse.begin("job", 3600.0)
    held = statefile.read(target)
    clock[0] += 1.0
    pulse.end("job")
    released = statefile.read(target)
    assert held is not None
    assert released is not None
    assert held.alive_until - time.monotonic() > 3500
    assert released.alive_until - time.monotonic() < 700


def test_readiness_reaches_the_probe_with_its_reason(pulse: Pulse, target: str) -> None:
    """What a process says of itself is what `celerykit probe` answers."""
    pulse.not_ready("connecting to the broker")
    assert statefile.judge(statefile.read(target), "ready") == (False, "connecting to the broker")
    pulse.ready("consuming celery")
    assert statefile.judge(statefile.read(target), "ready") == (True, "consuming celery")


def test_systemd_hears_ready_once_and_each_status(pulse: Pulse, messages: socket.socket) -> None:
    """READY=1 comes when the work begins, once; an outage afterwards is a status."""
    pulse.not_ready("connecting to the broker")
    assert received(messages) == ["WATCHDOG=1", "STATUS=connecting to the broker"]
    pulse.ready("consuming celery")
    assert received(messages) == ["WATCHDOG=1", "READY=1", "STATUS=consuming celery"]
    pulse.not_ready("the broker is away")
    pulse.ready("consuming celery")
    assert "READY=1" not in received(messages)


def test_the_same_news_is_told_once(pulse: Pulse, messages: socket.socket) -> None:
    """Beat says at each tick that it ticks, and systemd hears it once."""
    pulse.ready("ticking")
    received(messages)
    pulse.ready("ticking")
    assert received(messages) == []


def test_the_watchdog_is_fed_by_progress(pulse: Pulse, messages: socket.socket) -> None:
    """Systemd's own watchdog sees the same progress as the probes."""
    pulse.beat()
    assert received(messages) == ["WATCHDOG=1"]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, target: str) -> Iterator[Pulse]:
    """Return the pulse of a unit with ``WatchdogSec=``."""
    monkeypatch.setenv("WATCHDOG_USEC", "90000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    one = Pulse(target, 600.0)
    yield one
    one.stop()


def test_systemd_waits_longer_for_a_hold(watched: Pulse, messages: socket.socket, clock: list[float]) -> None:
    """A solo job or a drain of an hour does not trip the watchdog, and the time after it is watched closely again."""
    watched.begin("job", 3600.0)
    assert received(messages) == ["WATCHDOG=1", "WATCHDOG_USEC=3610000000"]
    clock[0] += 1.0
    watched.end("job")
    assert received(messages) == ["WATCHDOG=1", "WATCHDOG_USEC=610000000"]


def test_systemd_waits_longer_than_the_process_itself(watched: Pulse, messages: socket.socket) -> None:
    """However CELERYKIT_STUCK_AFTER is set, the stacks come first; and the same time-out is told once."""
    watched.not_ready("connecting to the broker")
    assert received(messages) == ["WATCHDOG=1", "WATCHDOG_USEC=610000000", "STATUS=connecting to the broker"]
    watched.ready("consuming celery")
    assert received(messages) == ["WATCHDOG=1", "READY=1", "STATUS=consuming celery"]


def test_a_unit_without_a_watchdog_gets_none(
    monkeypatch: pytest.MonkeyPatch, pulse: Pulse, messages: socket.socket, clock: list[float]
) -> None:
    """Telling systemd a time-out would turn its watchdog on, for this process or for one that started it."""
    pulse.begin("job", 3600.0)
    clock[0] += 1.0
    monkeypatch.setenv("WATCHDOG_USEC", "90000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    pulse.end("job")
    assert received(messages) == ["WATCHDOG=1", "WATCHDOG=1"]


def test_a_forked_child_says_nothing(pulse: Pulse, target: str, messages: socket.socket) -> None:
    """A pool child that inherits the pulse neither speaks for its worker nor takes its file away."""
    pulse.ready("consuming celery")
    received(messages)
    before = os.stat(target)
    child = os.fork()
    if child == 0:
        try:
            pulse.beat()
            pulse.hold(5.0)
            pulse.not_ready("in the child")
            pulse.begin("job", 5.0)
            pulse.end("job")
            pulse.stop()
            os._exit(0)
        finally:
            os._exit(1)  # else it would go on with the tests
    assert os.waitpid(child, 0)[1] == 0
    assert received(messages) == []
    assert os.stat(target) == before


def test_a_stop_leaves_no_file(pulse: Pulse, target: str) -> None:
    """A process that ended is not live."""
    pulse.ready("consuming celery")
    pulse.stop()
    pulse.stop()
    assert not os.path.exists(target)


def test_a_process_that_may_write_nowhere_works(tmp_path: Path, messages: socket.socket) -> None:
    """Without a folder for its state a worker runs, and tells systemd all the same."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    one = Pulse(f"{blocked}/worker-default.json", 600.0)
    one.ready("consuming celery")
    one.stop()
    assert "READY=1" in received(messages)


def test_a_pulse_tells_of_the_worker_s_size(pulse: Pulse, target: str) -> None:
    """With its next sign of life."""
    pulse.sized(6, "9 jobs wait")
    pulse.ready("consuming celery")
    state = statefile.read(target)
    assert state is not None
    assert (state.concurrency, state.why) == (6, "9 jobs wait")
