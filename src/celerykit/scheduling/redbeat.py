"""The patches for RedBeat alone; its schedule and its lock are in Redis."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from celerykit.health.watchdog import Pulse

WAITING = "waiting for the lock, which another beat has"


def is_of(scheduler: Any) -> bool:
    """Say whether a scheduler is RedBeat's, or a subclass of it."""
    return any(kind.__module__.partition(".")[0] == "redbeat" for kind in type(scheduler).__mro__)


def mend_times(entry: Any) -> None:
    """Correct the times of RedBeat's entries around a change of the clock.

    RedBeat adds hours to local time. It stores the last run without its UTC offset, so a run in the second of two
    repeated hours would be due again at once.

    :param entry: the class of the entries.
    """
    now = entry.default_now

    def default_now(self: Any) -> datetime:
        moment: datetime = now(self)
        return moment.astimezone(timezone.utc) if moment.fold else moment

    def due_at(self: Any) -> datetime | None:
        left = self.schedule.remaining_estimate(self.last_run_at) if self.last_run_at else timedelta()
        return None if left is None else now(self).astimezone(timezone.utc) + max(left, timedelta())

    entry.default_now = entry._default_now = default_now
    entry.due_at = property(due_at)


def watch_lock(pulse: Pulse, window: float) -> None:
    """Report a wait for RedBeat's lock as progress, so that the waiting beat does not count as stuck.

    :param window: seconds without progress after which beat is stuck.
    """
    from redis.lock import Lock

    do_acquire = Lock.do_acquire

    def reporting(self: Any, token: str) -> bool:
        if do_acquire(self, token):
            return True
        pulse.ready(WAITING)
        pulse.hold(float(self.sleep) + window)
        return False

    Lock.do_acquire = reporting  # type: ignore[method-assign]
