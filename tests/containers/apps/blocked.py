"""An app that blocks the worker's main loop some seconds after its first start, once."""

import os
import time

from celery import Celery, signals

app = Celery("blocked", include=["celerykit_survival"])


@signals.worker_ready.connect
def block(sender, **_):
    """Leave a mark, so that the worker that comes back is well."""
    mark = "/ledger/blocked"
    if not os.path.exists(mark):
        open(mark, "w").close()
        sender.hub.call_later(3, time.sleep, 3600)
