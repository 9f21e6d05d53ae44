"""An app that wants the opposite of every safe default."""

from celery import Celery

app = Celery("opposite")
app.conf.update(
    task_acks_late=False,
    task_reject_on_worker_lost=False,
    worker_prefetch_multiplier=7,
    task_time_limit=None,
    beat_sync_every=0,
    beat_scheduler="celery.beat:PersistentScheduler",
    worker_consumer="celery.worker.consumer:Consumer",
    broker_transport_options={"visibility_timeout": 5},
)


@app.task(name="work")
def work():
    """Do nothing."""
