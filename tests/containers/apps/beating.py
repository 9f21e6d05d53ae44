"""An app with a schedule of one job each 5 s, or at the interval that it is told."""

import os

from celery import Celery

app = Celery("beating", include=["celerykit_survival"])
app.conf.beat_schedule = {
    "every-5-s": {"task": "jobs.tick", "schedule": float(os.environ.get("INTERVAL", "5")), "args": ["tick"]}
}
