"""An app whose jobs find their queue by their headers."""

from celery import Celery
from kombu import Exchange, Queue

app = Celery("headed", include=["celerykit_survival"])
kinds = Exchange("kinds", type="headers")
app.conf.task_queues = [
    Queue("celery"),
    *(Queue(name, kinds, binding_arguments={"x-match": "all", "kind": name}) for name in ("picture", "sound")),
]
