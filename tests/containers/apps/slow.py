"""An app that loads its model once the worker is ready: until the test says that it has."""

import os
import time

from celery import Celery, signals
from celerykit_survival import FOLDER

app = Celery("slow", include=["celerykit_survival"])


@signals.worker_ready.connect
def load(**_):
    """Load it."""
    while not os.path.exists(f"{FOLDER}/loaded"):
        time.sleep(0.1)
