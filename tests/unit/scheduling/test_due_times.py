"""When crontabs are due in the nights in which the clocks change."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.schedules import crontab
from celery.utils.time import remaining

from celerykit.scheduling import due_times

SPRING, AUTUMN = "2026-03-29", "2026-10-25"
"""In Europe."""
EVERY_20 = ("00:00+2 00:20+2 00:40+2 01:00+2 01:20+2 01:40+2 02:00+2 02:20+2 02:40+2 "
            "02:00+1 02:20+1 02:40+1 03:00+1 03:20+1 03:40+1")  # fmt: skip
CASES = [
    ("Europe/Berlin", AUTUMN, {"minute": 0}, "00:00+2 01:00+2 02:00+2 02:00+1 03:00+1"),
    ("Europe/Berlin", AUTUMN, {"minute": "*/20"}, EVERY_20),
    ("Europe/Berlin", AUTUMN, {"hour": 2, "minute": 30}, "02:30+2"),
    ("Europe/Berlin", AUTUMN, {"hour": 2, "minute": "*/20"}, "02:00+2 02:20+2 02:40+2"),
    ("Europe/Berlin", AUTUMN, {"hour": "*/2", "minute": 0}, "00:00+2 02:00+2"),
    ("Europe/Berlin", AUTUMN, {"hour": 3, "minute": 0}, "03:00+1"),
    ("Europe/Berlin", AUTUMN, {"hour": 2, "minute": 30, "day_of_month": 25}, "02:30+2"),
    ("Europe/Berlin", AUTUMN, {"hour": 2, "minute": 30, "day_of_month": 26}, ""),
    ("Europe/Berlin", AUTUMN, {"minute": 0, "day_of_week": "sun"}, "00:00+2 01:00+2 02:00+2 02:00+1 03:00+1"),
    ("Europe/Berlin", SPRING, {"minute": 0}, "00:00+1 01:00+1 03:00+2"),
    ("Europe/Berlin", SPRING, {"minute": "*/30"}, "00:00+1 00:30+1 01:00+1 01:30+1 03:00+2 03:30+2"),
    ("Europe/Berlin", SPRING, {"hour": 2, "minute": 30}, "03:30+2"),
    ("Europe/Berlin", SPRING, {"hour": 2, "minute": "*/20"}, "03:00+2 03:20+2 03:40+2"),
    ("Europe/Berlin", SPRING, {"hour": "2,3", "minute": "15"}, "03:15+2"),
    ("Europe/Berlin", SPRING, {"hour": 3, "minute": 0}, "03:00+2"),
    ("America/New_York", "2026-11-01", {"minute": 30}, "00:30-4 01:30-4 01:30-5 02:30-5 03:30-5"),
    ("America/New_York", "2026-03-08", {"hour": 2, "minute": 0, "day_of_month": "8"}, "03:00-4"),
    ("Australia/Lord_Howe", "2026-04-05", {"minute": "*/30"},
     "00:00+11 00:30+11 01:00+11 01:30+11 01:30+10.5 02:00+10.5 02:30+10.5 03:00+10.5 03:30+10.5"),
    ("America/Santiago", "2026-09-06", {"hour": 0, "minute": 0}, "01:00-3"),
    ("UTC", AUTUMN, {"minute": 0}, "00:00+0 01:00+0 02:00+0 03:00+0"),
    ("UTC", SPRING, {"hour": 2, "minute": 30}, "02:30+0"),
]  # fmt: skip


def sent(zone: str, day: str, when: dict[str, object], jitter: timedelta) -> list[str]:
    """Return when an entry is sent between midnight and four, by a beat that is as late as ``jitter``."""
    clock = ZoneInfo(zone)
    app = Celery("times", set_as_current=False)
    app.conf.timezone = zone
    schedule = crontab(**when, app=app)
    begin = datetime.fromisoformat(day).replace(tzinfo=clock).astimezone(timezone.utc)
    end = datetime.fromisoformat(f"{day} 04:00").replace(tzinfo=clock).astimezone(timezone.utc)
    now = begin - timedelta(minutes=7)
    schedule.nowfun = lambda: now.astimezone(clock)
    last, found = now.astimezone(clock), []
    while True:
        due, wait = schedule.is_due(last)
        if due:
            last = now.astimezone(clock)
            offset = last.utcoffset() or timedelta()
            found.append(f"{last:%H:%M}{offset / timedelta(hours=1):+g}")
        now += timedelta(seconds=wait) + jitter
        if now >= end:
            return found


@pytest.mark.parametrize("jitter", [timedelta(), timedelta(seconds=3)], ids=["prompt", "late"])
@pytest.mark.parametrize(("zone", "day", "when", "times"), CASES)
def test_each_due_time_comes_once_when_the_clocks_change(
    monkeypatch: pytest.MonkeyPatch, zone: str, day: str, when: dict[str, object], times: str, jitter: timedelta
) -> None:
    """Skipped ones when they would have been, doubled ones at the first, and every hour's in each hour that passes."""
    monkeypatch.setattr(crontab, "remaining_estimate", due_times.remaining_estimate)
    assert sent(zone, day, when, jitter) == times.split()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "America/New_York"])
@pytest.mark.parametrize("when", [{"minute": "*/7"}, {"hour": 5, "minute": 30}, {"day_of_month": "31", "hour": 1}])
def test_elsewhere_nothing_is_changed(zone: str, when: dict[str, object]) -> None:
    """Away from the changes, the next due time is what Celery says, all over the year."""
    app = Celery("times", set_as_current=False)
    app.conf.timezone = zone
    now = datetime(2026, 1, 1, 12, 34, 56, tzinfo=timezone.utc)
    schedule = crontab(**when, app=app, nowfun=lambda: now)
    for hours in range(0, 24 * 365, 35):
        last = (now + timedelta(hours=hours)).astimezone(ZoneInfo(zone))
        near = {(last + timedelta(days=days)).utcoffset() for days in (-1, 40)}
        if len(near) == 1:
            assert due_times.remaining_estimate(schedule, last) == remaining(*schedule.remaining_delta(last))
