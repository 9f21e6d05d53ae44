"""The jobs of the benchmark's workloads as Celery runs them."""

import workloads
from celery import Celery

app = Celery("on_celery")
app.conf.task_ignore_result = True


@app.task(bind=True, name="bench.job")
def job(self):
    """Do what the id says: its publisher has put the token there."""
    workloads.perform(self.request.id)
