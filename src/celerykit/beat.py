"""Beat under the kit: progress reports, due jobs sent once and not lost, and a lock against a second beat."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import beat, signals

from celerykit.brokers import reconnect
from celerykit.config import settings
from celerykit.errors import ConfigurationError, Finding
from celerykit.health import starting
from celerykit.scheduling import database_lock, due_times, redbeat
from celerykit.scheduling.schedule_file import ScheduleFile
from celerykit.scheduling.ticks import SHORTEST_PAUSE, Ticks

if TYPE_CHECKING:
    from collections.abc import Callable

    from celerykit.health.watchdog import Pulse

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

LONGEST_SLEEP = 30
"""The most seconds between two ticks of the schedule, unless a scheduler or the app has a bound of its own.

It bounds the time until a stuck beat is noticed, and until RedBeat's standby has the lock of a dead beat.
"""

UNWRITTEN = (
    "CELERY_BEAT_SCHEDULE=%s: cannot be written: %s. Beat goes on from memory, and tries again at each job that it "
    "sends; if it ends before that succeeds, it sends again what it has sent since. Make room on that volume"
)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class PersistentScheduler(beat.PersistentScheduler):  # type: ignore[misc]
    """Celery's own scheduler, with a lock on its schedule file; it survives a full volume."""

    max_interval = LONGEST_SLEEP
    _unwritten = False

    def setup_schedule(self) -> None:
        """Take the lock before the file is opened: two writers would corrupt it."""
        due_times.install()
        self._lock = lock_schedule(self.schedule_filename)
        super().setup_schedule()

    def _open_schedule(self) -> ScheduleFile:
        return ScheduleFile(self.schedule_filename)

    def sync(self) -> None:
        """Write the schedule; if that fails, continue from memory and retry at the next sync."""
        try:
            super().sync()
        except OSError as exc:
            if not self._unwritten:
                logger.error(UNWRITTEN, self.schedule_filename, exc.strerror or exc)
            self._unwritten = True
        else:
            if self._unwritten:
                logger.warning("CELERY_BEAT_SCHEDULE=%s: is written again", self.schedule_filename)
            self._unwritten = False


def watch_over_beat() -> None:
    """Prepare this process for the beat service, with any scheduler of its app."""
    due_times.install()
    beat.Scheduler.max_interval = LONGEST_SLEEP
    signals.beat_init.connect(_on_beat_init, weak=False, dispatch_uid="celerykit")


def _on_beat_init(sender: Any, **_: Any) -> None:
    config = settings.from_environment(os.environ)
    pulse = starting.pulse_of("beat", "", config)
    pulse.starting("connecting to the broker")
    reconnect.watch(sender.app, pulse.beat)
    scheduler = sender.scheduler
    if redbeat.is_of(scheduler):
        redbeat.mend_times(scheduler.Entry)
        redbeat.watch_lock(pulse, config.stuck_after)
    ticks = Ticks(scheduler, pulse.beat)
    scheduler.tick = _watched(ticks, pulse, config.stuck_after, scheduler)


def _watched(ticks: Ticks, pulse: Pulse, window: float, scheduler: Any) -> Callable[..., float | None]:
    lock = database_lock.of(scheduler)
    away = tuple(set(scheduler.app.connection_for_write().connection_errors) - {KeyError})

    def tick(*args: Any, **options: Any) -> float | None:
        pulse.beat()
        if lock is not None:
            lock.hold(pulse.beat)
        try:
            interval = ticks.tick(*args, **options)
        except away as exc:  # RedBeat keeps its schedule on the broker's server
            logger.error("Beat cannot read its schedule: %s. Trying again", exc)
            interval = SHORTEST_PAUSE
        pulse.ready(f"ticking; {ticks.waiting} jobs wait for the broker" if ticks.waiting else "ticking")
        pulse.hold((interval or 0.0) + window)
        return interval

    return tick


def lock_schedule(schedule: str) -> Any:
    """Take the lock beside the schedule file, held until the process ends; two beats send every job twice.

    :returns: the open lock file; the caller must keep it.
    :raises ConfigurationError: if another beat has it.
    """
    path = Path(f"{schedule}.lock")
    try:
        lock = _opened(path)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        problem = f"another beat runs on it (it holds {path}), and two would send every job twice"
        remedy = "Stop the other one, or run beat only once"
        raise ConfigurationError(Finding("CELERY_BEAT_SCHEDULE", schedule, "beat", problem, remedy)) from exc
    except OSError as exc:
        problem, remedy = f"cannot be written: {exc.strerror}", "Name a file in a folder that lasts"
        raise ConfigurationError(Finding("CELERY_BEAT_SCHEDULE", schedule, "beat", problem, remedy)) from exc
    return lock


def _opened(path: Path) -> Any:
    try:
        return path.open("w")
    except PermissionError:
        if os.access(path, os.R_OK) and os.access(path.parent, os.W_OK):
            return path.open()  # another user has made it, as in another image: to lock it, reading is enough
        raise
    except OSError as exc:
        if exc.errno not in NO_ROOM:
            raise
        return os.open(path.parent, os.O_RDONLY)  # without the file, no other beat holds its lock: lock the folder
