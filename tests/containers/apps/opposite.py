"""An app that wants the opposite of every safe default, and gets it."""

from celery import Celery

app = Celery("opposite", include=["celerykit_survival"])
app.conf.update(task_acks_late=False, task_reject_on_worker_lost=False, worker_prefetch_multiplier=7)
