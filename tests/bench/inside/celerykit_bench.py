"""The jobs of the benchmark: as little as can be, and a note of their times where those are asked for."""

import os
import sys
import time
from datetime import datetime

from celery import Celery, signals

NOTES = "/ledger/notes"

app = Celery("celerykit_bench")
app.conf.task_ignore_result = True


@app.task(name="bench.nothing")
def nothing(body=""):
    """Cost nothing, so that all there is to measure is what surrounds a job."""


@app.task(name="bench.result", ignore_result=False)
def result():
    """Leave a result, and cost nothing else."""


@app.task(name="bench.wait")
def wait(seconds):
    """Wait, and note from when to when."""
    began = time.time()
    time.sleep(seconds)
    note(f"{began} {time.time()}")


@app.task(bind=True, name="bench.latency")
def latency(self):
    """Note the seconds since it was sent, which its publisher has written into its id."""
    note(str(time.time() - float(self.request.id)))


@app.task(bind=True, name="bench.late")
def late(self):
    """Note its number, when it was due, and when it began."""
    due = datetime.fromisoformat(self.request.eta).timestamp()
    note(f"{self.request.id} {due} {time.time()}")


@signals.worker_ready.connect
def ready(**_):
    """Tell who has started this worker when it was ready, and what it had imported by then."""
    at = time.time()
    if path := os.environ.get("BENCH_READY"):
        with open(path, "w") as file:
            file.write(f"{at} {' '.join(name for name in sys.modules if name != '__main__')}\n")


def note(text):
    """Append a line; one write call each, so that processes share the file."""
    descriptor = os.open(NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)
