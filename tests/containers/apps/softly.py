"""An app with Celery's soft shutdown, and with settings that the kit takes otherwise."""

import os
import signal

from celery import Celery
from celerykit_survival import FOLDER, note

app = Celery("softly", include=["celerykit_survival"])
app.conf.worker_soft_shutdown_timeout = 4.0
app.conf.worker_enable_soft_shutdown_on_idle = True
app.conf.task_retry_on_worker_lost = True


@app.task(bind=True, name="jobs.dies", max_retries=1, default_retry_delay=0.1)
def dies(self):
    """Kill the process that runs it, each time."""
    note(FOLDER, "start", self.request.id)
    os.kill(os.getpid(), signal.SIGKILL)
