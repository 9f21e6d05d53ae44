"""What RedBeat, whose schedule and lock are in Redis, needs beside what every scheduler gets."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from celerykit.health.watchdog import Pulse

WAITING = "waiting for the lock, which another beat has"


def is_of(scheduler: Any) -> bool:
    """Say whether a scheduler is RedBeat's, or made of it."""
    return any(kind.__module__.partition(".")[0] == "redbeat" for kind in type(scheduler).__mro__)


def mend_times(entry: Any) -> None:
    """Have RedBeat's entries outlive a change of the clock.

    RedBeat adds hours to the clock on the wall, and writes down when a job last ran without saying which of the two
    hours it means that the clock shows twice: what ran in the second would be due again at once.

    :param entry: their class.
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
    """Have a beat that waits for RedBeat's lock say so, and not be taken for stuck.

    :param window: seconds without progress after which it is.
    """
    from redis.lock import Lock

    do_acquire = Lock.do_acquire

    def told(self: Any, token: str) -> bool:
        if do_acquire(self, token):
            return True
        pulse.ready(WAITING)
        pulse.hold(float(self.sleep) + window)
        return False

    Lock.do_acquire = told  # type: ignore[method-assign]
