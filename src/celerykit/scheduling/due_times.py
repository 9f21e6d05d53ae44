"""The due times of a crontab around a change of the clock: each due time once, in both directions.

Celery computes with local time. In autumn it goes from 02:40 to 03:00, and leaves out the repeated hour between them.
In spring it forgets further due times in the skipped hour.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from celery.schedules import crontab
from celery.utils.time import ffwd, remaining

if TYPE_CHECKING:
    from collections.abc import Iterator

AROUND = timedelta(hours=3)
"""The distance from a change of the clock within which it matters; no clock changes by more than two hours."""
HOURS = 24


def install() -> None:
    """Make every crontab of this process use :func:`remaining_estimate`, those of other schedulers, too."""
    crontab.remaining_estimate = remaining_estimate


def remaining_estimate(self: Any, last_run_at: datetime, ffwd: type = ffwd) -> timedelta:
    """Return the time from now until the next due time after the last run, negative if that has passed."""
    last, delta, now = self.remaining_delta(last_run_at, ffwd=ffwd)
    if not _knows_changes(last.tzinfo) or not (_is_near_change(last) or _is_near_change(last + delta)):
        left: timedelta = remaining(last, delta, now)
    else:
        left = next_due(self, last) - now.astimezone(timezone.utc)
    return left


def next_due(schedule: Any, last: datetime) -> datetime:
    """Return the first due time after ``last``, in UTC.

    A skipped time is due at its instant without the change. A repeated time is due at its first occurrence. It is due
    at both if the crontab is for every hour, because such jobs depend on elapsed time.

    :param last: in the crontab's own timezone.
    """
    after = last.astimezone(timezone.utc)
    instants: list[datetime] = []
    until = None
    for wall in _walls(schedule, last):
        if until is not None and wall > until:
            break
        instants += (instant for instant in _instants(schedule, wall, last.tzinfo) if instant > after)
        if instants and until is None:
            until = wall + AROUND  # a skipped time may be due after a later local time
    return min(instants)


def _walls(schedule: Any, last: datetime) -> Iterator[datetime]:
    """Yield the due times of a crontab in local time without a zone, from shortly before the last run on."""
    wall = last.replace(tzinfo=None, fold=0) - AROUND
    while True:
        start, delta, _ = schedule.remaining_delta(wall.replace(tzinfo=last.tzinfo))
        wall = (start + delta).replace(tzinfo=None, fold=0)
        yield wall


def _instants(schedule: Any, wall: datetime, zone: tzinfo | None) -> Iterator[datetime]:
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(timezone.utc) for fold in (0, 1))
    yield first
    if second > first and len(schedule.hour) == HOURS:
        yield second


def _is_near_change(moment: datetime) -> bool:
    instant = moment.astimezone(timezone.utc)
    before, after = ((instant + distance).astimezone(moment.tzinfo) for distance in (-AROUND, AROUND))
    return before.utcoffset() != after.utcoffset()


def _knows_changes(zone: tzinfo | None) -> bool:
    """Say whether a timezone distinguishes the repeated hours, unlike those of pytz; Celery uses this test, too."""
    return isinstance(zone, ZoneInfo) or hasattr(zone, "is_ambiguous")
