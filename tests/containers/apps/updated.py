"""An app configured by ``conf.update``."""

from celery import Celery

app = Celery("updated", include=["celerykit_survival"])
app.conf.update(timezone="Europe/Berlin", task_track_started=True)
