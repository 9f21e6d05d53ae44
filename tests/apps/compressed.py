"""An app whose kind of compression goes by another name."""

from celery import Celery

app = Celery("compressed")
app.conf.task_compression = "bz2"
