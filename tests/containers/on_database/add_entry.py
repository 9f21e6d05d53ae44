"""Add an entry to the schedule in the database, as its admin page does."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project_settings")
django.setup()

from django_celery_beat.models import IntervalSchedule, PeriodicTask  # noqa: E402  # Django first

every, _ = IntervalSchedule.objects.get_or_create(every=2, period="seconds")
PeriodicTask.objects.create(name="added", task="jobs.tick", args='["added"]', interval=every)
