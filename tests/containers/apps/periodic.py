"""An app with a periodic task as Celery's guide adds it: in a receiver, which names the task before it is bound."""

import time

from celery import Celery
from celerykit_survival import FOLDER, note

app = Celery("periodic", include=["celerykit_survival"])


@app.on_after_configure.connect
def setup_periodic_tasks(sender, **_):
    """Add it."""
    sender.add_periodic_task(3600.0, named.s(1.0), name="hourly")


@app.task(bind=True, name="jobs.named")
def named(self, seconds):
    """Wait, as most jobs do."""
    note(FOLDER, "start", self.request.id)
    time.sleep(seconds)
    note(FOLDER, "done", self.request.id)
