"""An app whose mails have a queue of their own."""

from celery import Celery

app = Celery("routed_away")
app.conf.task_routes = {"mail.*": {"queue": "mails"}}


@app.task(name="mail.send")
def send():
    """Do nothing."""


@app.task(name="work")
def work():
    """Do nothing."""
