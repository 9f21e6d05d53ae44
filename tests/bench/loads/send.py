"""Send jobs, at once or as they happen to come: ``python send.py LIBRARY '[{"load": "noop", "count": 1000}]'``.

Each message is what the library itself sends. One is made by it, and the others are copies with tokens of their own
where making each would be slow: the publisher is to be out of the way of what is measured.
"""

import json
import os
import random
import sys
import time
from contextlib import contextmanager

import workloads

URL = os.environ["BENCH_BROKER_URL"]
AT_ONCE = 500
"""Messages in one round trip."""
TOKEN = "celerykit-bench-token"
"""What a copy replaces by its own."""


@contextmanager
def redis_pipeline(fill):
    """Send in round trips of many: ``fill(pipe, token)`` adds one message."""
    import redis

    client = redis.Redis.from_url(URL)

    def send(tokens):
        for first in range(0, len(tokens), AT_ONCE):
            with client.pipeline(transaction=False) as pipe:
                for token in tokens[first : first + AT_ONCE]:
                    fill(pipe, token)
                pipe.execute()

    yield send
    client.close()


def celery_redis():
    """Return what sends to Celery's queue in Redis, whose messages are JSON, a delivery tag and the id among it."""
    from kombu import Connection
    from kombu.transport.redis import Channel

    kept = []

    class Keeping(Channel):
        """Keep a message instead of putting it."""

        def _put(self, queue, message, **kwargs):
            kept.append(json.dumps(message))

    with Connection(URL) as connection:
        connection.transport.Channel = Keeping
        publish_celery(connection.default_channel)
    raw = kept[0]
    # The broker's own number of a message; two with the same would be one to it.
    raw = raw.replace(json.loads(raw)["properties"]["delivery_tag"], TOKEN)
    return redis_pipeline(lambda pipe, token: pipe.lpush("celery", raw.replace(TOKEN, token)))


@contextmanager
def celery_rabbitmq():
    """Send to Celery's queue in RabbitMQ."""
    from amqp import Message
    from kombu import Connection

    kept = []
    with Connection(URL) as connection:
        channel = connection.default_channel
        publish = channel._basic_publish
        channel.basic_publish = lambda message, *args, **kwargs: kept.append(message)
        publish_celery(channel)

        def send(tokens):
            for token in tokens:
                properties = {**kept[0].properties, "correlation_id": token}
                properties["application_headers"] = {**properties["application_headers"], "id": token, "root_id": token}
                publish(Message(kept[0].body, **properties), exchange="", routing_key="celery")

        yield send


def publish_celery(channel):
    """Publish one job as Celery does, its id the token."""
    from kombu import Producer
    from on_celery import app

    headers, properties, body, _ = app.amqp.as_task_v2(TOKEN, "bench.job", args=(), kwargs={})
    Producer(channel, auto_declare=False).publish(
        body, exchange="", routing_key="celery", serializer="json", headers=headers, delivery_mode=2, **properties
    )


def dramatiq_redis():
    """Return what sends to dramatiq's queue in Redis, as its script does: a message in a hash, its id in a list."""
    import on_dramatiq

    def fill(pipe, token):
        message = on_dramatiq.job.message(token).copy(options={"redis_message_id": token})
        pipe.hset("dramatiq:default.msgs", token, message.encode())
        pipe.rpush("dramatiq:default", token)

    return redis_pipeline(fill)


@contextmanager
def dramatiq_rabbitmq():
    """Send to dramatiq's queue in RabbitMQ."""
    import on_dramatiq

    def send(tokens):
        for token in tokens:
            on_dramatiq.job.send(token)

    yield send


def taskiq_redis():
    """Return what sends to taskiq's stream in Redis."""
    import on_taskiq

    kicker = on_taskiq.job.kicker()

    def fill(pipe, token):
        message = on_taskiq.broker.formatter.dumps(kicker.with_task_id(token)._prepare_message(token))
        pipe.xadd("taskiq", {"data": message.message})

    return redis_pipeline(fill)


SENDERS = {
    ("celery", "redis"): celery_redis,
    ("celery", "amqp"): celery_rabbitmq,
    ("dramatiq", "redis"): dramatiq_redis,
    ("dramatiq", "amqp"): dramatiq_rabbitmq,
    ("taskiq", "redis"): taskiq_redis,
}


def main(library, batches):
    """Send each batch after the other: ``count`` jobs of a ``load``, numbered from ``first`` on.

    With a ``rate``, so many come each second, at times that nobody has agreed on, the same in each run.
    """
    with SENDERS[library, URL.partition(":")[0]]() as send:
        for batch in batches:
            numbers = range(batch["first"], batch["first"] + batch["count"])
            if batch.get("rate"):
                come(send, batch["load"], numbers, batch["rate"])
            else:
                send([workloads.token(batch["load"], number) for number in numbers])


def come(send, load, numbers, rate):
    """Send jobs one by one."""
    gaps, due = random.Random(load), time.time()
    for number in numbers:
        due += gaps.expovariate(rate)
        time.sleep(max(0.0, due - time.time()))
        send([workloads.token(load, number)])


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
