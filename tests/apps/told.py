"""An app that says all there is to say, and what its worker and beat make of it beside what they are told."""

import json
import os
import sys

from celery import Celery
from kombu import Queue

if __name__ == "__main__":
    from celerykit import launch

app = Celery("told", broker="redis://mine/0", backend="file:///tmp")
app.conf.update(
    broker_read_url=os.environ.get("OWN_READ_URL"),
    worker_pool="solo",
    worker_concurrency=7,
    worker_prefetch_multiplier=7,
    task_time_limit=70,
    task_soft_time_limit=60,
    worker_max_tasks_per_child=7,
    worker_max_memory_per_child=700000,
    worker_send_task_events=False,
    task_queues=[Queue("mine", max_priority=3), Queue("other")],
    task_acks_late=True,
    beat_schedule_filename="/mine/schedule",
)


def of_worker(**options):
    """Print what a worker with these options has, and end."""
    worker = app.WorkController(**options)
    told = {
        "broker_url": app.conf.broker_url,
        "broker_read_url": app.conf.broker_read_url,
        "result_backend": app.conf.result_backend,
        "worker_pool": worker.pool_cls.__module__,
        "worker_concurrency": worker.max_concurrency or worker.concurrency,
        "worker_prefetch_multiplier": worker.prefetch_multiplier,
        "task_time_limit": worker.time_limit,
        "task_soft_time_limit": worker.soft_time_limit,
        "worker_max_tasks_per_child": worker.max_tasks_per_child,
        "worker_max_memory_per_child": worker.max_memory_per_child,
        "worker_send_task_events": worker.task_events,
        "task_queues": {name: queue.max_priority for name, queue in app.amqp.queues.consume_from.items()},
        "task_acks_late": app.conf.task_acks_late,
        "beat_schedule_filename": app.Beat(quiet=True, schedule=os.environ.get("CELERY_BEAT_SCHEDULE")).schedule,
        "SECRET_KEY": os.environ.get("SECRET_KEY"),
    }
    json.dump(told, sys.stdout)
    sys.exit(0)


if __name__ == "__main__":
    ready, _ = launch.prepare("worker", os.environ, "default", ["-A", "told"])
    sys.modules["told"] = sys.modules["__main__"]
    app.Worker = of_worker
    launch.run(ready, lambda finding: None)
