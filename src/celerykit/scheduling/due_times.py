"""When a crontab is due around a change of the clock: each due time once, in both directions.

Celery counts on the clock on the wall. In autumn it goes from 02:40 to 03:00 and leaves out the hour between, which
that night has twice; in spring it forgets what else was due in the hour that the night has not.
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
"""How near a change of the clock must be to matter; no clock is put back or forward by more than two hours."""
HOURS = 24


def install() -> None:
    """Have every crontab of this process use :func:`remaining_estimate`, those of other schedulers, too."""
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

    A time that the clock skips is due when it would have been without the change. A time that it shows twice is due at
    the first; at both if the crontab is for every hour, since such jobs go by the time that has passed.

    :param last: in the crontab's own timezone.
    """
    after = last.astimezone(timezone.utc)
    found: list[datetime] = []
    until = None
    for wall in _walls(schedule, last):
        if until is not None and wall > until:
            break
        found += (instant for instant in _instants(schedule, wall, last.tzinfo) if instant > after)
        if found and until is None:
            until = wall + AROUND  # what is skipped may be due later than what comes after it on the wall
    return min(found)


def _walls(schedule: Any, last: datetime) -> Iterator[datetime]:
    """Yield the times of a crontab as a clock on the wall shows them, from somewhat before the last run on."""
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
    """Say whether a timezone tells the two hours apart, as those of pytz do not; Celery asks the same."""
    return isinstance(zone, ZoneInfo) or hasattr(zone, "is_ambiguous")
