"""The app of a Django project, as Celery's own documentation has it."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project_settings")
app = Celery("on_django", include=["celerykit_survival"])
app.config_from_object("django.conf:settings", namespace="CELERY")
