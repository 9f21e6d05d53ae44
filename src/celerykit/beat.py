"""Beat's signs of life, and its lock against a second beat on the same schedule."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from typing import Any

from celery import beat, signals

from celerykit import reconnect, settings, statefile
from celerykit.errors import ConfigurationError, Finding
from celerykit.pulse import Pulse

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)


class PersistentScheduler(beat.PersistentScheduler):  # type: ignore[misc]
    """Celery's own scheduler, holding a lock on its schedule file."""

    def setup_schedule(self) -> None:
        """Take the lock before the file is opened: two writers would spoil it."""
        self._lock = lock_schedule(self.schedule_filename)
        super().setup_schedule()


def watch_over_beat() -> None:
    """Connect to the start of the beat service of this process."""
    signals.beat_init.connect(_on_beat_init, weak=False, dispatch_uid="celerykit")


def _on_beat_init(sender: Any, **_: Any) -> None:
    own = settings.from_environment(os.environ)
    pulse = Pulse(statefile.path(own.state_dir, "beat", ""), own.stuck_after)
    pulse.not_ready("connecting to the broker")
    reconnect.watch(sender.app, pulse.beat)
    scheduler = sender.scheduler
    tick = scheduler.tick

    def watched_tick(*args: Any, **options: Any) -> Any:
        pulse.beat()
        interval = tick(*args, **options)
        pulse.ready("ticking")
        pulse.hold((interval or 0.0) + own.stuck_after)
        return interval

    scheduler.tick = watched_tick


def lock_schedule(schedule: str) -> Any:
    """Take the lock beside the schedule file, held until the process ends; two beats send every job twice.

    :returns: the open lock file, which is to be kept.
    :raises ConfigurationError: if another beat has it.
    """
    path = Path(f"{schedule}.lock")
    try:
        lock = path.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        problem = f"another beat runs on it (it holds {path}), and two would send every job twice"
        finding = Finding(
            "CELERY_BEAT_SCHEDULE", schedule, "beat", problem, "Stop the other one, or run beat only once"
        )
        raise ConfigurationError(finding) from exc
    except OSError as exc:
        finding = Finding(
            "CELERY_BEAT_SCHEDULE",
            schedule,
            "beat",
            f"cannot be written: {exc.strerror}",
            "Name a file in a folder that lasts",
        )
        raise ConfigurationError(finding) from exc
    return lock
