"""The Celery app."""

from __future__ import annotations

from celery import Celery

REPORT_EVERY = 30.0
"""Seconds between two reports."""

app = Celery("sourcestats", include=["sourcestats.tasks"])
app.conf.beat_schedule = {
    "report": {
        "task": "sourcestats.tasks.report",
        "schedule": REPORT_EVERY,
        # A report that waited until the next one is due would only repeat it.
        "options": {"expires": REPORT_EVERY},
    },
}
