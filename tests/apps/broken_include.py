"""An app with a module of tasks that does not import."""

from celery import Celery

app = Celery("broken_include", include=["broken"])
