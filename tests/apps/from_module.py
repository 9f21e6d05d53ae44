"""An app configured from a plain module."""

from celery import Celery

app = Celery("from_module")
app.config_from_object("plain_settings")


@app.task(name="work")
def work():
    """Do nothing."""
