"""Print what a worker and a beat of the app named on the command line really have."""

import importlib
import json
import sys

app = importlib.import_module(sys.argv[1]).app
worker = app.Worker()
task = app.tasks["work"]
beat = app.Beat(schedule="/nonexistent/schedule", quiet=True)
service = beat.Service(
    app=app, max_interval=beat.max_interval, scheduler_cls=beat.scheduler_cls, schedule_filename=beat.schedule
)
scheduler = service.get_scheduler(lazy=True)
with app.connection_for_read() as connection:
    transport_options = connection.transport_options


def path(kind):
    """Return the path of a class."""
    return f"{kind.__module__}:{kind.__name__}"


json.dump(
    {
        "acks_late": task.acks_late,
        "reject_on_worker_lost": task.reject_on_worker_lost,
        "task_time_limit": task.time_limit,
        "worker_time_limit": worker.time_limit,
        "prefetch_multiplier": worker.prefetch_multiplier,
        "concurrency": worker.concurrency,
        "consumer": path(type(worker.consumer)),
        "steps": [path(type(step)) for step in worker.steps if type(step).__module__.startswith("celerykit")],
        "request": str(task.Request),
        "sync_every": scheduler.sync_every_tasks,
        "max_interval": scheduler.max_interval,
        "scheduler": path(type(scheduler)),
        "transport_options": transport_options,
    },
    sys.stdout,
)
