"""An app whose settings are assigned one by one, after its configuration was read."""

from celery import Celery

app = Celery("assigned")
assert app.conf.timezone is None  # the first access configures the app
app.conf.worker_prefetch_multiplier = 7
app.conf.task_reject_on_worker_lost = False
app.conf["task_time_limit"] = 120
app.conf.beat_sync_every = 9
app.conf.broker_transport_options = {"socket_timeout": 3.0, "own": "kept"}


@app.task(name="work")
def work():
    """Do nothing."""
