"""An app that was made with a loader of its own."""

from celery import Celery

app = Celery("own_loader", loader="celery.loaders.app:AppLoader")


@app.task(name="work")
def work():
    """Do nothing."""
