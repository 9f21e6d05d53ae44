"""The jobs of the benchmark's workloads as taskiq runs them: coroutines, on the broker of its that acknowledges."""

import os

import workloads
from taskiq_redis import RedisStreamBroker

# From the first job in the stream, not from the first after the worker's start.
broker = RedisStreamBroker(os.environ["BENCH_BROKER_URL"], consumer_id="0")


@broker.task(task_name="job")
async def job(token: str) -> None:
    """Do what the token says."""
    await workloads.perform_async(token)
