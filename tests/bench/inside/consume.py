"""Fetch and acknowledge with kombu alone for some seconds: ``python consume.py PREFETCH SECONDS``."""

import json
import os
import sys
import time
from contextlib import suppress

from kombu import Connection, Consumer, Queue

WARM_UP = 0.5


def transport():
    """Return the kit's transport, or None for kombu's own."""
    if os.environ.get("CELERYKIT_REDIS_TRANSPORT") == "stock":
        return None
    from celerykit.transports.redis import Transport

    return Transport


def main(prefetch, seconds):
    """Print how many messages were acknowledged, and in how many seconds."""
    acknowledged = 0

    def acknowledge(_, message):
        nonlocal acknowledged
        message.ack()
        acknowledged += 1

    with Connection(os.environ["CELERY_BROKER_URL"], transport=transport()) as connection:
        channel = connection.default_channel
        channel.basic_qos(0, prefetch, False)
        with Consumer(channel, [Queue("celery")], callbacks=[acknowledge], accept=["json"]):
            drain(connection, WARM_UP)
            acknowledged, began = 0, time.monotonic()
            drain(connection, seconds)
            print(json.dumps({"acknowledged": acknowledged, "seconds": time.monotonic() - began}))


def drain(connection, seconds):
    """Take what comes for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(TimeoutError):
            connection.drain_events(timeout=1)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
