"""The file in which beat keeps when each entry last ran."""

from __future__ import annotations

import errno
import logging
import os
import shelve
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, beat

from celerykit.beat import PersistentScheduler
from celerykit.scheduling.schedule_file import ScheduleFile

if TYPE_CHECKING:
    from pathlib import Path


def scheduler(kind: Any, path: Path) -> Any:
    """Return a scheduler of one entry."""
    app = Celery("file", broker="memory://", set_as_current=False)
    app.conf.beat_schedule = {"one": {"task": "one", "schedule": 60.0}}
    return kind(app=app, schedule_filename=str(path / "schedule"))


def test_the_file_that_celery_wrote_is_read(tmp_path: Path) -> None:
    """Whoever changes over to the kit, or comes from an earlier one, sends nothing twice."""
    stock = scheduler(beat.PersistentScheduler, tmp_path)
    stock.reserve(stock.schedule["one"])
    last = stock.schedule["one"].last_run_at
    stock.close()
    own = scheduler(PersistentScheduler, tmp_path)
    assert (own.schedule["one"].last_run_at, own.schedule["one"].total_run_count) == (last, 1)
    own.close()
    own._lock.close()
    again = scheduler(PersistentScheduler, tmp_path)
    assert again.schedule["one"].last_run_at == last


def test_a_file_that_cannot_be_read_is_said_and_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Beat starts all the same."""
    (tmp_path / "schedule").write_bytes(b"neither one nor the other")
    assert scheduler(PersistentScheduler, tmp_path).schedule["one"].total_run_count == 0
    assert f"CELERY_BEAT_SCHEDULE={tmp_path / 'schedule'}: cannot be read" in caplog.text


def test_on_a_full_volume_the_schedule_goes_on_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file keeps what it had; the log says once that it is not written, and once that it is again."""
    caplog.set_level(logging.WARNING)
    own = scheduler(PersistentScheduler, tmp_path)
    before = ScheduleFile(str(tmp_path / "schedule"))["entries"]["one"]

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        for _ in range(2):
            own.reserve(own.schedule["one"])
            own.sync()
        assert own.schedule["one"].total_run_count == 2
        kept = ScheduleFile(str(tmp_path / "schedule"))["entries"]["one"]
        assert (kept.last_run_at, kept.total_run_count) == (before.last_run_at, 0)
    own.sync()
    assert ScheduleFile(str(tmp_path / "schedule"))["entries"]["one"].total_run_count == 2
    said = [record.getMessage() for record in caplog.records if "CELERY_BEAT_SCHEDULE" in record.getMessage()]
    assert "cannot be written: No space left on device" in said[0] and "Make room" in said[0]
    assert len(said) == 2 and "is written again" in said[1]


def test_an_empty_shelf_is_an_empty_schedule(tmp_path: Path) -> None:
    """Whatever kind of file this Python makes of it."""
    shelve.open(str(tmp_path / "schedule"), "c").close()  # noqa: S301
    assert ScheduleFile(str(tmp_path / "schedule")) == {}
