"""An app that sets nothing."""

from celery import Celery

app = Celery("nothing")


@app.task(name="work")
def work():
    """Do nothing."""
