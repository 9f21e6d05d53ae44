"""Send jobs, at once or at a pace: ``python publish.py '{"task": "bench.nothing", "count": 1000}'``.

One job is sent by Celery itself; the others are copies of its message with ids of their own, which is fast enough to
stay out of the way of what is measured.
"""

import json
import sys
import time
from datetime import datetime, timezone

from celerykit_bench import app

ID = "0123456789.0000000-celerykit-bench-id"
QUEUE = "celerykit-bench-queue"
"""Which no worker consumes."""
AT_ONCE = 500
"""Messages in one round trip."""


def main(task, count, arguments=(), size=0, queues=("celery",), pause=0.0, first=0.0, rate=0.0):
    """Send ``count`` jobs to the queues in turn, ``pause`` seconds apart; 0 is all at once.

    :param size: bytes of one argument more.
    :param rate: how many of them are due a second, from ``first`` on, in seconds since the epoch; 0 is all of them now.
    """
    with app.connection_for_write() as connection:
        redis = connection.default_channel.client
        raw = message(redis, task, [*arguments, *(["x" * size] if size else [])])
        templates = [(queue, raw.replace(QUEUE.encode(), queue.encode())) for queue in queues]
        if rate:
            for_later(redis, raw.replace(QUEUE.encode(), b"celery"), count, first, rate)
        elif pause:
            at_a_pace(redis, templates, count, pause)
        else:
            at_once(redis, templates, count)


def message(redis, task, arguments):
    """Return a job's message as Celery sends it."""
    app.send_task(task, args=arguments, task_id=ID, queue=QUEUE)
    raw = redis.rpop(QUEUE)
    # The broker's own number of a message; two with the same would be one to it.
    return raw.replace(json.loads(raw)["properties"]["delivery_tag"].encode(), ID.encode())


def at_once(redis, templates, count):
    """Fill the queues."""
    for first in range(0, count, AT_ONCE):
        with redis.pipeline(transaction=False) as pipe:
            for number in range(first, min(first + AT_ONCE, count)):
                queue, raw = templates[number % len(templates)]
                pipe.lpush(queue, raw.replace(ID.encode(), f"{time.time()}{number:09}".encode()))
            pipe.execute()


def for_later(redis, raw, count, first, rate):
    """Fill the queue with jobs whose time is to come; each id is a job's number."""
    raw = raw.replace(b'"eta": null', b'"eta": "' + ID.encode() + b'-eta"')
    for start in range(0, count, AT_ONCE):
        with redis.pipeline(transaction=False) as pipe:
            for number in range(start, min(start + AT_ONCE, count)):
                eta = datetime.fromtimestamp(first + number / rate, timezone.utc).isoformat()
                own = raw.replace(f"{ID}-eta".encode(), eta.encode())
                pipe.lpush("celery", own.replace(ID.encode(), str(number).encode()))
            pipe.execute()


def at_a_pace(redis, templates, count, pause):
    """Send one job after the other; each id is the time at which it was sent."""
    due = time.time()
    for number in range(count):
        due += pause
        time.sleep(max(0.0, due - time.time()))
        queue, raw = templates[number % len(templates)]
        redis.lpush(queue, raw.replace(ID.encode(), f"{time.time():.7f}".encode()))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
