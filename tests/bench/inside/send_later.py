"""Send jobs with an ETA as any program with the kit does: ``python send_later.py COUNT FIRST RATE``."""

import sys
from datetime import datetime, timezone

from celerykit_bench import app

import celerykit


def main(count, first, rate):
    """Send ``count`` jobs, ``rate`` of them due a second, from ``first`` on, in seconds since the epoch."""
    celerykit.configure(app)
    with app.producer_pool.acquire() as producer:
        for number in range(count):
            eta = datetime.fromtimestamp(first + number / rate, timezone.utc)
            app.send_task("bench.late", task_id=str(number), eta=eta, producer=producer)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
