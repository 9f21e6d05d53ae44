"""The verbs of beat and Flower, and what faults do to them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.hosts import Host

INTERVAL = 5.0
"""Seconds between two ticks of the app's schedule."""
PATIENCE = 120.0
"""Seconds that a busy machine may take for what an idle one does in a few."""
ANSWER = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:5555/metrics', timeout=5).status)"


class Beat:
    """Beat on a host, as its journal shows it."""

    def __init__(self, host: Host):
        self.host = host
        self._since = int(host.sh("date +%s"))

    @property
    def pid(self) -> str:
        """The main process, 0 if there is none."""
        return self.host.show("celerybeat", "MainPID")

    @property
    def ready(self) -> bool:
        """Whether it ticks."""
        return self.host.run("/opt/celery/venv/bin/celerykit probe beat --ready")[0] == 0

    def sent(self) -> list[float]:
        """Return when a job was sent."""
        lines = self.host.sh(f"journalctl --no-pager -u celerybeat -o short-unix --since=@{self._since}").splitlines()
        return [float(line.split()[0]) for line in lines if "Sending due task" in line]

    def wait_ticks(self, number: int) -> None:
        """Wait for so many ticks in all."""
        until(lambda: len(self.sent()) >= number, PATIENCE, lambda: self.host.journal("celerybeat"))

    def wait_back(self, before: str) -> None:
        """Wait until it ticks in another process."""
        until(lambda: self.pid not in {"0", before} and self.ready, PATIENCE, lambda: self.host.journal("celerybeat"))

    def assert_no_tick_twice(self) -> None:
        """A beat that does not know of its last tick sends it again as soon as it is back."""
        times = self.sent()
        pauses = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        assert len(pauses) >= 4 and min(pauses) > INTERVAL - 1, pauses


@pytest.fixture
def beat(host: Host) -> Iterator[Beat]:
    """Beat with a tick each 5 s, enabled and started."""
    host.write("/etc/celery/beat.env", "CELERY_APP=beating\nCELERY_BEAT_LOGLEVEL=INFO\n", owner="root:celery")
    host.sh("rm -f /var/lib/celery/celerybeat-schedule*; systemctl enable -q celerybeat")
    found = Beat(host)
    host.sh("systemctl start celerybeat")
    yield found
    host.run("systemctl disable -q --now celerybeat; rm /etc/celery/beat.env")


@pytest.mark.slow
def test_beat_is_started_when_it_ticks_and_stopped_when_it_has_ended(beat: Beat) -> None:
    """`start` returns with the first tick possible, `stop` leaves nothing behind; the jobs run."""
    assert beat.ready
    assert beat.host.show("celerybeat", "StatusText") == "ticking"
    until(lambda: beat.host.ledger.first("done", "tick", 2), PATIENCE, lambda: beat.host.journal("celerybeat"))
    beat.host.sh("systemctl stop celerybeat")
    assert beat.pid == "0"
    assert beat.host.show("celerybeat", "Result") == "success"
    assert beat.host.sh("ls /var/lib/celery").split()


@pytest.mark.inits("systemd", slowly=("bookworm",))
@pytest.mark.parametrize("fault", ["kill", pytest.param("restart", marks=pytest.mark.slow)])
def test_beat_sends_no_tick_twice_and_none_late(beat: Beat, fault: str) -> None:
    """After `systemctl restart` or a `kill -9` the schedule goes on: no tick twice, the next within one interval."""
    before = beat.pid
    beat.wait_ticks(2)
    beat.host.sh("systemctl restart celerybeat" if fault == "restart" else f"kill -KILL {before}")
    beat.wait_back(before)
    back, ticks = time.time(), len(beat.sent())
    beat.wait_ticks(max(ticks + 2, 5))
    assert beat.sent()[ticks] < back + INTERVAL + 15
    beat.assert_no_tick_twice()


@pytest.mark.slow
def test_beat_comes_back_with_the_machine(beat: Beat) -> None:
    """A reboot repeats no tick."""
    beat.wait_ticks(2)
    beat.host.reboot()
    until(lambda: beat.ready, PATIENCE, lambda: beat.host.journal("celerybeat"))
    beat.wait_ticks(5)
    beat.assert_no_tick_twice()


@pytest.mark.slow
def test_an_outage_of_the_broker_restarts_no_beat(beat: Beat) -> None:
    """Beat goes on, and says in its journal what it could not send; one that is started then waits for the broker."""
    before = beat.pid
    beat.wait_ticks(1)
    beat.host.sh("systemctl stop redis-server")
    time.sleep(4 * INTERVAL)  # the fault itself
    beat.host.sh("systemctl start redis-server")
    beat.wait_ticks(len(beat.sent()) + 2)
    assert beat.pid == before
    beat.host.sh("systemctl stop celerybeat redis-server; systemctl start --no-block celerybeat")
    until(lambda: beat.pid != "0", PATIENCE, "another beat")
    before = beat.pid
    refused = "beat: Connection error"
    until(lambda: refused in beat.host.journal("celerybeat"), PATIENCE, lambda: beat.host.journal("celerybeat"))
    beat.host.sh("systemctl start redis-server")
    until(lambda: beat.ready, PATIENCE, lambda: beat.host.journal("celerybeat"))
    ran = beat.host.ledger.account().done["tick"]
    until(lambda: beat.host.ledger.account().done["tick"] >= ran + 2, PATIENCE, lambda: beat.host.journal("celerybeat"))
    assert beat.pid == before
    assert beat.host.show("celerybeat", "NRestarts") == "0"


def flower_answers(host: Host) -> bool:
    """Ask Flower over HTTP."""
    return host.run(f'python3 -c "{ANSWER}"')[1].strip() == "200"


def wait_flower(host: Host) -> None:
    """Wait until Flower answers."""
    until(lambda: flower_answers(host), PATIENCE, lambda: host.journal("celery-flower"))


def test_flower_answers_on_loopback_and_comes_back(host: Host) -> None:
    """The monitor is on this machine only; `restart`, a `kill -9` and an outage of the broker leave it running."""
    host.sh("systemctl start celery-flower")
    wait_flower(host)
    listens = host.sh("ss -ltnH 'sport = :5555'").splitlines()
    assert len(listens) == 1 and "127.0.0.1:5555" in listens[0], listens
    host.sh("systemctl restart celery-flower")
    wait_flower(host)
    before = host.show("celery-flower", "MainPID")
    host.sh(f"kill -KILL {before}")
    until(lambda: host.show("celery-flower", "MainPID") not in {"0", before}, PATIENCE, "another Flower")
    wait_flower(host)
    host.sh("systemctl restart redis-server")
    wait_flower(host)
    assert host.show("celery-flower", "NRestarts") == "1"
    host.sh("systemctl stop celery-flower")
    assert host.show("celery-flower", "MainPID") == "0"
    assert not flower_answers(host)
