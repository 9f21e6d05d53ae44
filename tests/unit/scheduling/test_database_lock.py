"""The lease of a schedule in a database."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = """
import sys, time
from datetime import timedelta
import django
from django.conf import settings
from django.db import connection, models
from django.utils import timezone

database = {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}
settings.configure(USE_TZ=True, DATABASES={"default": database})
django.setup()

class Changes(models.Model):
    ident = models.SmallIntegerField(default=1, primary_key=True)
    last_update = models.DateTimeField()
    class Meta:
        app_label = "schedule"

with connection.schema_editor() as editor:
    editor.create_model(Changes)

from celerykit.scheduling import database_lock
from celerykit.errors import ConfigurationError

database_lock.LEASE, database_lock.RENEWAL = 2.0, 0.2
scheduler = type("Scheduler", (), {"Changes": Changes})()

def beat():
    return database_lock.of(scheduler)

def is_refused(lock):
    try:
        lock.hold(lambda: None)
    except ConfigurationError as exc:
        return "another beat runs on this schedule in the database" in str(exc)
    return False
"""
CASES = {
    "a second beat is refused while the first lives, and begins at once when that has ended": """
first, second = beat(), beat()
assert not is_refused(first)
assert is_refused(second)
assert not is_refused(first)
first.release()
began = time.monotonic()
assert not is_refused(second) and time.monotonic() - began < 1.0
assert database_lock.of(object()) is None
""",
    "one that was killed keeps the next waiting, an emptied table stops nobody, who lost the lease ends": """
Changes.objects.create(pk=database_lock.ROW, last_update=timezone.now() + timedelta(seconds=1))
waited = []
lock = beat()
lock.hold(lambda: waited.append(1))
assert waited
Changes.objects.all().delete()
lock.renew()
assert not is_refused(lock) and Changes.objects.filter(pk=database_lock.ROW).exists()
Changes.objects.filter(pk=database_lock.ROW).update(last_update=timezone.now() + timedelta(seconds=60))
lock.renew()
assert is_refused(lock)
""",
}


@pytest.mark.parametrize("case", CASES)
def test_a_schedule_in_a_database_has_one_beat_at_a_time(tmp_path: Path, case: str) -> None:
    """Whoever has the lease keeps it by a row that it renews; nobody has to remove anything."""
    program = [sys.executable, "-W", "ignore", "-c", BEGIN + CASES[case], str(tmp_path / "database")]
    ended = subprocess.run(program, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
