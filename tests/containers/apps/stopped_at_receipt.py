"""An app whose worker is told to stop in the moment in which it has received its first job, once."""

import os
import signal

from celery import Celery, signals

app = Celery("stopped_at_receipt", include=["celerykit_survival"])


@signals.task_received.connect
def stop(**_):
    """Leave a mark, so that the worker that comes back goes on."""
    mark = "/ledger/stopped"
    if not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGTERM)
