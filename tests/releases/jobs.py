"""The app whose jobs are counted. As a program it sends some, a few to run later: ``jobs.py FIRST LAST SECONDS``."""

import os
import sys
import time

from celery import Celery

app = Celery("jobs")


@app.task(name="work")
def work(number, seconds):
    """Take some time, then write down that it is done."""
    time.sleep(seconds)
    line = os.open(os.environ["JOBS_DONE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(line, f"{number}\n".encode())
    os.close(line)


@app.task(name="too_long", time_limit=6)
def too_long():
    """Take longer than it may, without an end of its own."""
    time.sleep(600)


if __name__ == "__main__":
    first, last, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    for number in range(first, last):
        work.apply_async((number, seconds), countdown=None if number % 20 else 2)
