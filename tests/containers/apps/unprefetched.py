"""An app whose workers take what they can start, and no more."""

from celery import Celery

app = Celery("unprefetched", include=["celerykit_survival"])
app.conf.worker_disable_prefetch = True
