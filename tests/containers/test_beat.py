"""Beat sends each tick once, whatever happens to it."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.containers import Rig
    from tests.rig.process import Process

INTERVAL = 5.0
ON_DATABASE, ON_REDIS = (Path(__file__).parent / name for name in ("on_database", "on_redis"))
"""Apps whose schedules are elsewhere than in beat's own file."""
INSTALLED = {"working_dir": "/app/current", "CELERY_BEAT_LOGLEVEL": "INFO"}
MIGRATE = "exec python -m django migrate --settings project_settings --verbosity 0"


def ticks(rig: Rig) -> list[float]:
    """Return when the periodic job ran."""
    return [entry.at for entry in rig.ledger.entries() if (entry.kind, entry.job) == ("done", "tick")]


def sent(beat: Process, entry: str = "") -> list[float]:
    """Return when beat sent a job, as its log has it: a worker under load may run one late and the next in time."""
    stamps = re.findall(
        rf"^\[([\d-]+ [\d:,]+): INFO/\w+\] Scheduler: Sending due task {entry}", beat.logs, re.MULTILINE
    )
    return [datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").timestamp() for stamp in stamps]


def pauses(beat: Process) -> list[float]:
    """Return the seconds between two jobs that beat sent."""
    times = sent(beat)
    return [later - earlier for earlier, later in zip(times, times[1:], strict=False)]


def wait_ticks(rig: Rig, number: int, seconds: float) -> None:
    """Wait for so many ticks in all."""
    until(lambda: len(ticks(rig)) >= number, seconds, lambda: f"{number} ticks, there are {len(ticks(rig))}", pause=0.1)


@pytest.mark.slow_with("restart")
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
    # A beat that does not know of its last tick sends it again as soon as it is back, which is sooner than the next.
    assert len(pauses(beat)) >= 5 and min(pauses(beat)) > INTERVAL - 1, pauses(beat)


def test_a_tick_due_while_the_broker_is_away_is_sent_once_when_it_is_back(rig: Rig) -> None:
    """Beat says which job it could not send, lives on, and sends it then; the next comes an interval later."""
    interval = 20.0
    redis = rig.redis()
    rig.worker(app="beating")
    beat = rig.beat(CELERYKIT_STUCK_AFTER=15, INTERVAL=interval, CELERY_BEAT_LOGLEVEL="INFO")
    beat.wait_ready(process="beat")
    wait_ticks(rig, 1, 60)
    redis.stop()
    beat.wait_log("Message Error: every-5-s was refused", 60)
    beat.wait_log("every-5-s is still refused", 30)
    time.sleep(15)  # as long as a beat that is stuck would live
    assert beat.probe("live", "beat"), beat.logs[-2000:]
    began = time.time()
    redis.start()
    until(rig.client.ping, 60, "Redis answers", pause=0.1)
    back = time.time()
    wait_ticks(rig, 3, 90)
    assert began < sent(beat)[1] < back + 10, (began, back, sent(beat))
    assert min(pauses(beat)) > interval - 1, pauses(beat)


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


def test_a_full_volume_stops_no_beat(stack: Rig) -> None:
    """One that starts there goes on from memory, says so with the remedy, and writes again when there is room."""
    stack.worker(app="beating")
    volume = {stack.small_disk(1): {"bind": "/var/lib/celery", "mode": "rw"}}
    keeper = stack.run(stack.image, entrypoint=["sleep", "infinity"], volumes=volume)
    told = {"CELERY_BEAT_SCHEDULE": "/var/lib/celery/schedule", "CELERY_BEAT_LOGLEVEL": "INFO"}
    beat = stack.celery(["beat"], "beating", told, volumes=volume)
    wait_ticks(stack, 2, 90)
    keeper.sh("dd if=/dev/zero of=/var/lib/celery/full bs=4k 2>/dev/null; true")
    beat.kill()
    beat.start()
    beat.wait_log("CELERY_BEAT_SCHEDULE=/var/lib/celery/schedule: cannot be written: No space left on device")
    assert "Make room on that volume" in beat.logs
    wait_ticks(stack, len(ticks(stack)) + 2, 60)
    keeper.sh("rm /var/lib/celery/full")
    beat.wait_log("is written again")
    before = len(ticks(stack))
    beat.stop()
    assert beat.state["ExitCode"] == 0
    beat.start()
    wait_ticks(stack, before + 2, 60)
    assert min(pauses(beat)) > INTERVAL - 1, pauses(beat)


def test_a_schedule_in_a_database_has_one_beat(stack: Rig) -> None:
    """A second one is refused; a change is seen within 5 s, as django-celery-beat has it; a killed one comes back."""
    stack.install(ON_DATABASE)
    assert stack.beat("on_database", entrypoint=["sh", "-c", MIGRATE], **INSTALLED).wait_exit(90) == 0
    beat = stack.beat("on_database", **INSTALLED)
    beat.wait_log("Sending due task every-5-s")
    second = stack.beat("on_database", **INSTALLED)
    assert second.wait_exit(120) == 78, second.logs
    assert "another beat runs on this schedule in the database" in second.logs and not sent(second)
    beat.kill()
    beat.start()
    before = len(sent(beat))
    until(lambda: len(sent(beat)) > before + 1, 120, lambda: beat.logs[-3000:])  # once the killed one's lease is over
    assert min(pauses(beat)) > INTERVAL - 1, pauses(beat)
    beat.sh("python add_entry.py")
    added = time.time()
    beat.wait_log("Sending due task added", 60)
    assert sent(beat, "added")[0] < added + 5 + 2 + 5


def test_redbeat_runs_and_its_standby_lives_until_it_is_needed(stack: Rig) -> None:
    """Its schedule and its lock are in the broker's Redis; who waits for the lock is neither stuck nor unready."""
    stack.install(ON_REDIS)
    beat = stack.beat("on_redis", CELERYKIT_STUCK_AFTER=15, **INSTALLED)
    beat.wait_log("Sending due task every-5-s")
    standby = stack.beat("on_redis", CELERYKIT_STUCK_AFTER=15, **INSTALLED)
    standby.wait_ready(process="beat")
    assert "waiting for the lock" in standby.sh("celerykit probe beat --live")
    time.sleep(25)  # longer than a beat that is stuck would live
    assert standby.probe("live", "beat"), standby.logs[-2000:]
    assert min(pauses(beat)) > INTERVAL - 1 and not sent(standby)
    assert int(stack.client.queued()) >= 2
    beat.kill()
    until(lambda: len(sent(standby)) > 1, 90, lambda: standby.logs[-3000:])
    assert min(pauses(standby)) > INTERVAL - 1
