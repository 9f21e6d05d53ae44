"""The lock against a second beat."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from celerykit import beat
from celerykit.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_beat_on_a_schedule_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """Two beats would send every job twice: the second one says who is in the way and what to do."""
    schedule = str(tmp_path / "schedule")
    with beat.lock_schedule(schedule), pytest.raises(ConfigurationError) as caught:
        beat.lock_schedule(schedule)
    message = str(caught.value)
    assert f"CELERY_BEAT_SCHEDULE={schedule} (beat): another beat runs on it" in message
    assert f"it holds {schedule}.lock" in message
    assert "Stop the other one, or run beat only once" in message


def test_a_killed_beat_leaves_no_lock(tmp_path: Path) -> None:
    """A restart after SIGKILL needs nobody to remove a file."""
    schedule = str(tmp_path / "schedule")
    program = (
        "import os, signal, sys; from celerykit import beat; lock = beat.lock_schedule(sys.argv[1]); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, schedule], check=False)
    assert killed.returncode == -9
    beat.lock_schedule(schedule).close()


def test_a_schedule_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A folder that is missing or read-only is said at the start, not at the first tick."""
    with pytest.raises(
        ConfigurationError, match=r"CELERY_BEAT_SCHEDULE=.*cannot be written: No such file or directory"
    ):
        beat.lock_schedule(str(tmp_path / "none" / "schedule"))
