"""An app with the upper-case names of Celery 3."""

from celery import Celery


class Configuration:
    """Settings as they were called."""

    CELERYD_PREFETCH_MULTIPLIER = 7
    CELERY_REJECT_ON_WORKER_LOST = False
    CELERYD_TASK_TIME_LIMIT = 120
    CELERYBEAT_SYNC_EVERY = 9
    BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 3.0, "own": "kept"}  # noqa: RUF012  # as people write it


app = Celery("old_names")
app.config_from_object(Configuration)


@app.task(name="work")
def work():
    """Do nothing."""
