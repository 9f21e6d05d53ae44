"""A run of as many jobs as whoever triggers it says: each a mapped task instance of some seconds."""

import time
from datetime import timedelta

from airflow.sdk import dag, task


@dag(schedule=None, params={"number": 30}, max_active_tasks=64)
def load() -> None:
    """Work out the jobs' numbers, then do the jobs."""

    @task(retries=2, retry_delay=timedelta(seconds=5))
    def number(params: dict | None = None) -> list[int]:
        return list(range(params["number"]))

    @task(retries=2, retry_delay=timedelta(seconds=5))
    def work(job: int) -> int:
        time.sleep(3)
        return job

    work.expand(job=number())


load()
