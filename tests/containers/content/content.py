"""An app whose messages are written as somebody outside says."""

import json
import os

from celery import Celery, shared_task

app = Celery("content", include=["celerykit_survival"])
app.conf.update(json.loads(os.environ.get("APP_SETTINGS") or "{}"))
if app.conf.task_serializer == "auth":
    app.setup_security()


@shared_task(bind=True, name="jobs.echo")
def echo(self, value):
    """Return what came."""
    return value
