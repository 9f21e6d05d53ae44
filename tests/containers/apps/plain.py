"""An app that sets nothing."""

from celery import Celery

app = Celery("plain", include=["celerykit_survival"])
