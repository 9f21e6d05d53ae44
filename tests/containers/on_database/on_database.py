"""An app with its schedule in the database of a Django project, as django-celery-beat's documentation has it."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project_settings")
app = Celery("on_database", include=["celerykit_survival"])
app.conf.beat_scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
app.conf.beat_schedule = {"every-5-s": {"task": "jobs.tick", "schedule": 5.0, "args": ["tick"]}}
