"""Beat sends each tick once, whatever happens to it."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.containers import Rig
    from tests.rig.process import Process

INTERVAL = 5.0


def ticks(rig: Rig) -> list[float]:
    """Return when the periodic job ran."""
    return [entry.at for entry in rig.ledger.entries() if (entry.kind, entry.job) == ("done", "tick")]


def sent(beat: Process) -> list[float]:
    """Return when beat sent a job, as its log has it: a worker under load may run one late and the next in time."""
    stamps = re.findall(r"^\[([\d-]+ [\d:,]+): INFO/\w+\] Scheduler: Sending due task", beat.logs, re.MULTILINE)
    return [datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").timestamp() for stamp in stamps]


def wait_ticks(rig: Rig, number: int, seconds: float) -> None:
    """Wait for so many ticks in all."""
    until(lambda: len(ticks(rig)) >= number, seconds, lambda: f"{number} ticks, there are {len(ticks(rig))}", pause=0.1)


@pytest.mark.parametrize("fault", ["restart", "kill"])
def test_no_tick_is_sent_twice_and_none_is_late(stack: Rig, fault: str) -> None:
    """After a restart or a kill of beat the schedule goes on: no tick twice, the next within one interval."""
    stack.worker(app="beating")
    beat = stack.beat(CELERY_BEAT_LOGLEVEL="INFO")
    beat.wait_ready(process="beat")
    wait_ticks(stack, 3, 60)
    if fault == "restart":
        beat.stop()
        assert beat.state["ExitCode"] == 0
    else:
        beat.kill()
    before = len(ticks(stack))
    beat.start()
    beat.wait_ready(process="beat")
    back = time.time()
    wait_ticks(stack, before + 3, 60)
    assert ticks(stack)[before] < back + INTERVAL + 5
    times = sent(beat)
    pauses = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    # A beat that does not know of its last tick sends it again as soon as it is back, which is sooner than the next.
    assert len(pauses) >= 5 and min(pauses) > INTERVAL - 1, pauses


def test_a_tick_without_a_broker_is_said_in_the_log(rig: Rig) -> None:
    """A broker that is away at a tick: beat says which job it could not send, and lives on."""
    redis = rig.redis()
    beat = rig.beat(CELERYKIT_STUCK_AFTER=15)
    beat.wait_ready(process="beat")
    until(lambda: rig.client.queued() > 0, 60, "a tick in the queue")
    redis.stop()
    beat.wait_log("Message Error", 90)
    assert "every-5-s" in beat.logs or "jobs.tick" in beat.logs
    time.sleep(15)
    assert beat.probe("live", "beat"), beat.logs[-2000:]
    redis.start()
    rig.worker(app="beating")
    before = len(ticks(rig))
    wait_ticks(rig, before + 2, 90)


def test_a_beat_that_starts_before_its_broker_waits_for_it(rig: Rig) -> None:
    """No broker at start: the same process goes on when it is there."""
    redis = rig.redis()
    redis.stop()
    beat = rig.beat(CELERYKIT_STUCK_AFTER=10)
    time.sleep(20)
    assert beat.state["Status"] == "running", beat.logs[-2000:]
    redis.start()
    rig.worker(app="beating")
    wait_ticks(rig, 1, 90)


def test_a_second_beat_on_the_same_schedule_is_refused(stack: Rig) -> None:
    """Two beats would send every job twice: the second says so and ends."""
    beat = stack.beat()
    beat.wait_ready(process="beat")
    second = stack.beat()
    assert second.wait_exit(90) == 78
    assert "another beat runs on it" in second.logs
    assert beat.probe("ready", "beat")
