"""An app with a schedule of one job each 5 s."""

from celery import Celery

app = Celery("beating", include=["celerykit_survival"])
app.conf.beat_schedule = {"every-5-s": {"task": "jobs.tick", "schedule": 5.0, "args": ["tick"]}}
