"""An app configured from an object with a namespace, as under Django."""

from celery import Celery


class Configuration:
    """Settings under a prefix."""

    CELERY_TIMEZONE = "Europe/Berlin"
    CELERY_TASK_TRACK_STARTED = True


app = Celery("from_object", include=["celerykit_survival"])
app.config_from_object(Configuration, namespace="CELERY")
