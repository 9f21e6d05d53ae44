"""An app that asks for the kit's defaults after its configuration was read and its task made."""

from celery import Celery

import celerykit

app = Celery("configured_late")
app.conf.update(task_track_started=True)
assert app.conf.task_track_started  # the first access configures the app


@app.task(name="work")
def work():
    """Do nothing."""


celerykit.configure(app)
