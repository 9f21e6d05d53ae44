"""A safe app that prints while it is imported, as many do."""

from celery import Celery

print("hello from the app")
app = Celery("noisy")


@app.task(name="work")
def work():
    """Do nothing."""
