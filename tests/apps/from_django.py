"""A Django project's app, whose settings are Django's."""

import os

import django
from celery import Celery

os.environ["DJANGO_SETTINGS_MODULE"] = "django_project"
django.setup()
app = Celery("from_django")
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task(name="work")
def work():
    """Do nothing."""
