"""An app that has set Celery's soft shutdown."""

from celery import Celery

app = Celery("softly", broker="redis://127.0.0.1:1/0")
app.conf.worker_soft_shutdown_timeout = 4.0
