"""An app that a function makes, with servers of its own, from what it reads for itself."""

import os

from celery import Celery


def create_app():
    """Return the app."""
    assert os.environ["SECRET_KEY"] == "a $b #c & d"
    broker = "redis://:hunter2@elsewhere/5"
    return Celery("opinionated", broker=broker, backend=os.environ["RESULTS"], include=["celerykit_survival"])
