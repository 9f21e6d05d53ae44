"""An app that asks for the kit's defaults in a line of code, and once more after its configuration was read."""

from celery import Celery

import celerykit

app = Celery("configured")
celerykit.configure(app)
assert app.conf.timezone is None  # the first access configures the app
celerykit.configure(app)


@app.task(name="work")
def work():
    """Do nothing."""
