"""An app configured from an object with a namespace."""

from celery import Celery


class Configuration:
    """Settings under a prefix, as a Django project has them."""

    CELERY_WORKER_PREFETCH_MULTIPLIER = 7
    CELERY_TASK_REJECT_ON_WORKER_LOST = False
    CELERY_TASK_TIME_LIMIT = 120
    CELERY_BEAT_SYNC_EVERY = 9
    CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 3.0, "own": "kept"}  # noqa: RUF012  # as people write it


app = Celery("from_namespace")
app.config_from_object(Configuration, namespace="CELERY")


@app.task(name="work")
def work():
    """Do nothing."""
