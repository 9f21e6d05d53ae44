"""An app that loads its model once the worker is ready, as long as ``SECONDS`` says."""

import os
import time

from celery import Celery, signals

app = Celery("slow", include=["celerykit_survival"])


@signals.worker_ready.connect
def load(**_):
    """Load it."""
    time.sleep(float(os.environ["SECONDS"]))
