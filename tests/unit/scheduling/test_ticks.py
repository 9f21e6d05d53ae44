"""What beat sends while its broker is away, and after that."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, beat
from celery.schedules import crontab
from kombu.exceptions import EncodeError, OperationalError

from celerykit.beat import PersistentScheduler
from celerykit.scheduling.ticks import LONGEST_PAUSE, Ticks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIDNIGHT = datetime(2026, 6, 1, tzinfo=timezone.utc)
SCHEDULE = {
    "each-20-s": {"task": "often", "schedule": 20.0},
    "each-15-s": {"task": "other", "schedule": 15.0},
    "daily": {"task": "daily", "schedule": crontab(hour=0, minute=1)},
}


class World:
    """A clock, and a broker that is away at times, or refuses some tasks."""

    def __init__(self) -> None:
        self.now = MIDNIGHT
        self.refuses: Callable[[str], BaseException | None] = lambda task: None
        self.sent: list[tuple[str, float]] = []
        self.app = Celery("ticks", broker="memory://", set_as_current=False)
        self.app.conf.beat_schedule = SCHEDULE
        self.app.conf.beat_sync_every = 1
        self.app.now = lambda: self.now

    def send(self, task: str) -> None:
        """Take a job, or refuse it."""
        if exc := self.refuses(task):
            raise exc
        self.sent.append((task, (self.now - MIDNIGHT).total_seconds()))

    def run(self, ticks: Ticks, seconds: float) -> None:
        """Tick until then."""
        end = MIDNIGHT + timedelta(seconds=seconds)
        while self.now < end:
            wait = ticks.tick() or 0.0
            self.now += timedelta(seconds=max(wait, 0.0) + 0.02)

    def times(self, task: str) -> list[float]:
        """Return when a task was sent."""
        return [at for name, at in self.sent if name == task]


def in_memory(world: World, path: Path) -> Any:
    """Return a scheduler as most are, with Celery's own tick."""

    class InMemory(beat.Scheduler):  # type: ignore[misc]
        producer = None

        def send_task(self, name: str, *_: Any, **__: Any) -> None:
            world.send(name)

    return InMemory(app=world.app, max_interval=5)


def persistent(world: World, path: Path) -> Any:
    """Return the kit's own."""

    class Persistent(PersistentScheduler):
        producer = None

        def send_task(self, name: str, *_: Any, **__: Any) -> None:
            world.send(name)

    return Persistent(app=world.app, max_interval=5, schedule_filename=str(path / "schedule"))


def by_itself(world: World, path: Path) -> Any:
    """Return one that ticks as RedBeat does, which lets `apply_async` reserve."""

    class ByItself(beat.Scheduler):  # type: ignore[misc]
        def send_task(self, name: str, *_: Any, **__: Any) -> None:
            world.send(name)

        def tick(self) -> float:
            waits = [self.max_interval]
            for entry in list(self.schedule.values()):
                due, wait = entry.is_due()
                waits.append(wait)
                if due:
                    try:
                        self.apply_async(entry, producer=None)
                    except beat.SchedulingError:
                        logging.getLogger("test").exception("refused")
            return float(min(waits))

    return ByItself(app=world.app, max_interval=5)


def with_own_apply(world: World, path: Path) -> Any:
    """Return one that applies entries in a way of its own."""
    scheduler = in_memory(world, path)

    class WithOwn(type(scheduler)):  # type: ignore[misc]
        def apply_entry(self, entry: Any, producer: Any = None) -> None:
            super().apply_entry(entry, producer=producer)

    return WithOwn(app=world.app, max_interval=5)


KINDS = [in_memory, persistent, by_itself, with_own_apply]


@pytest.fixture
def world() -> World:
    """A broker that is there."""
    return World()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_due_while_the_broker_is_away_is_sent_once_when_it_is_back(
    world: World, tmp_path: Path, kind: Callable[[World, Path], Any]
) -> None:
    """One job for each entry, however many of its times went by; a daily one, too; nothing twice."""
    ticks = Ticks(kind(world, tmp_path))
    away = (35.0, 130.0)
    world.refuses = lambda task: (
        OperationalError("away") if away[0] <= (world.now - MIDNIGHT).total_seconds() < away[1] else None
    )
    world.run(ticks, 180)
    for task, pause in (("often", 20.0), ("other", 15.0)):
        times = world.times(task)
        assert min(later - earlier for earlier, later in zip(times, times[1:], strict=False)) >= pause - 0.1
        assert [at for at in times if away[1] <= at < away[1] + LONGEST_PAUSE + 0.5], times
        assert len([at for at in times if at >= away[1]]) == int(50 // pause) + 1, times
    (daily,) = world.times("daily")
    assert away[1] <= daily < away[1] + LONGEST_PAUSE + 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_is_refused_alone_keeps_no_other_from_being_sent(
    world: World, tmp_path: Path, kind: Callable[[World, Path], Any]
) -> None:
    """As when the queue of one is full."""
    ticks = Ticks(kind(world, tmp_path))
    world.refuses = lambda task: OperationalError("full") if task == "often" else None
    world.run(ticks, 100)
    assert world.times("often") == [] and len(world.times("other")) == 6 and len(world.times("daily")) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_cannot_be_sent_at_all_waits_for_its_next_time(
    world: World, tmp_path: Path, kind: Callable[[World, Path], Any]
) -> None:
    """As with Celery: arguments that no serializer takes would be tried without end."""
    ticks = Ticks(kind(world, tmp_path))
    tried: list[str] = []

    def refuses(task: str) -> BaseException:
        tried.append(task)
        return EncodeError("no serializer takes it")

    world.refuses = refuses
    world.run(ticks, 99)
    assert tried.count("often") == 4 and tried.count("other") == 6 and tried.count("daily") == 1


def test_a_restart_of_beat_during_the_outage_forgets_nothing(world: World, tmp_path: Path) -> None:
    """The schedule on disk has what was sent, so the next beat sends the rest, once."""
    first = persistent(world, tmp_path)
    world.refuses = lambda task: OperationalError("away")
    world.run(Ticks(first), 100)
    assert world.sent == []
    first.close()
    first._lock.close()
    second = persistent(world, tmp_path)
    world.refuses = lambda task: None
    world.run(Ticks(second), 110)
    assert sorted(task for task, _ in world.sent) == ["daily", "often", "other"]
    second._lock.close()  # as a kill: nothing is written at the end
    third = persistent(world, tmp_path)
    world.run(Ticks(third), 112)
    assert len(world.sent) == 3


def test_what_was_sent_and_could_not_be_noted_is_not_sent_again(world: World, tmp_path: Path) -> None:
    """As with RedBeat, when its Redis goes away in the moment between."""
    scheduler = by_itself(world, tmp_path)
    reserve, fails = scheduler.reserve, [True]

    def failing(entry: Any) -> Any:
        if entry.name == "each-20-s" and fails[0]:
            raise ConnectionError("away")
        return reserve(entry)

    scheduler.reserve = failing
    ticks = Ticks(scheduler)
    for seconds in (30, 35):
        try:
            world.run(ticks, seconds)
        except ConnectionError:
            fails[0] = False
    assert len(world.times("often")) == 1


def test_the_log_has_each_job_when_it_was_sent(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An outage is a traceback and a line for each entry, not one at each attempt."""
    caplog.set_level(logging.INFO)
    ticks = Ticks(in_memory(world, tmp_path))
    world.refuses = lambda task: OperationalError("away") if world.now < MIDNIGHT + timedelta(seconds=60) else None
    world.run(ticks, 64)
    messages = [record.getMessage() for record in caplog.records if "each-20-s" in record.getMessage()]
    assert len(messages) == 3
    assert messages[0].startswith("Message Error: each-20-s was refused") and "stays due" in messages[0]
    assert messages[1] == "each-20-s is still refused: Couldn't apply scheduled task each-20-s: away. " + (
        f"Beat tries again every {LONGEST_PAUSE} s"
    )
    assert messages[2] == "Scheduler: Sending due task each-20-s (often)"
