"""An app on a broker or a result backend that the kit does not stand up; what that needs is said from outside."""

import json
import os

from celery import Celery, shared_task

app = Celery("others", include=["celerykit_survival"])
# What a broker forgets is seen only by whoever tells it late.
app.conf.task_acks_late = app.conf.task_reject_on_worker_lost = True
app.conf.broker_transport_options = json.loads(os.environ.get("BROKER_OPTIONS") or "{}")
app.conf.update(json.loads(os.environ.get("APP_SETTINGS") or "{}"))


@shared_task(name="jobs.add")
def add(one, other):
    """Return a sum."""
    return one + other


@shared_task(name="jobs.total")
def total(numbers):
    """Return the sum of many."""
    return sum(numbers)


@shared_task(name="jobs.fail")
def fail(reason):
    """End in an error."""
    raise ValueError(reason)
