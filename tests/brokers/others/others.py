"""An app on a broker that the kit does not stand up; what that broker needs is said from outside."""

import json
import os

from celery import Celery

app = Celery("others", include=["celerykit_survival"])
# What a broker forgets is seen only by whoever tells it late.
app.conf.task_acks_late = app.conf.task_reject_on_worker_lost = True
app.conf.broker_transport_options = json.loads(os.environ["BROKER_OPTIONS"])
