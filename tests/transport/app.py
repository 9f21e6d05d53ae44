"""The app of workers that a test starts with all that the kit makes of them."""

from celery import Celery

app = Celery("app")


@app.task(name="jobs.work")
def work() -> None:
    """Do nothing."""
