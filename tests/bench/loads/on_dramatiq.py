"""The jobs of the benchmark's workloads as dramatiq runs them."""

import os

import dramatiq
import workloads

URL = os.environ["BENCH_BROKER_URL"]


def broker():
    """Return dramatiq's broker for the URL, with its own defaults."""
    if URL.startswith("amqp"):
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        return RabbitmqBroker(url=URL)
    from dramatiq.brokers.redis import RedisBroker

    return RedisBroker(url=URL)


dramatiq.set_broker(broker())


@dramatiq.actor
def job(token):
    """Do what the token says."""
    workloads.perform(token)
