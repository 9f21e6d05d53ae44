"""An app whose jobs come back by the way that they are told, and write down what they are at each delivery."""

import json
import os
import signal
import time

from celery import Celery
from celery.exceptions import Reject
from celerykit_survival import FOLDER, note, starts_of
from kombu import Exchange, Queue

app = Celery("ways", include=["celerykit_survival"])
media = Exchange("media", type="topic")
app.conf.update(
    accept_content=["json", "pickle"],
    task_acks_on_timeout=False,
    # Without its default, Celery's own queue would be one of the topic exchange, too.
    task_queues=[
        Queue("celery"),
        Queue("videos", media, routing_key="media.#"),
        Queue("images", Exchange("img", type="direct"), routing_key="img"),
    ],
    task_default_queue="celery",
)


@app.task(bind=True, name="ways.comes_back")
def comes_back(self, way, *args, **kwargs):
    """End the first delivery by ``way``; say at each what the job looks like."""
    note(FOLDER, "start", self.request.id)
    request = self.request
    looks = {name: getattr(request, name) for name in ("reply_to", "correlation_id", "expires", "stamps", "root_id")}
    looks |= {"args": args, "kwargs": kwargs, "tenant": request.get("tenant")}
    looks |= {name: request.delivery_info[name] for name in ("exchange", "routing_key", "priority")}
    looks["callbacks"] = request.callbacks
    line = json.dumps([request.id, looks], default=str) + "\n"
    descriptor = os.open(f"{FOLDER}/looks", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(descriptor, line.encode())
    os.close(descriptor)
    if way == "always" or starts_of(request.id) == 1:
        {"child": _die, "always": _die, "rejected": _reject, "held": _hold, "limit": _hold}[way]()
    note(FOLDER, "done", request.id)


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def _reject():
    raise Reject("not now", requeue=True)


def _hold():
    time.sleep(40)
