"""An app that says how many jobs it runs at once."""

from celery import Celery

app = Celery("sized", include=["celerykit_survival"])
app.conf.worker_concurrency = 4
