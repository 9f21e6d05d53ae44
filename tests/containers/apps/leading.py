"""An app whose jobs lead to others, in each way that Celery has."""

import os
import time

from celery import Celery, group
from celerykit_survival import FOLDER, note, work

app = Celery("leading", include=["celerykit_survival"])


@app.task(name="jobs.mark")
def mark(name):
    """Be one of many."""
    note(FOLDER, "start", name)
    note(FOLDER, "done", name)


@app.task(bind=True, name="jobs.retry_once")
def retry_once(self):
    """Try again once."""
    begin(self)
    if self.request.retries:
        note(FOLDER, "done", self.request.id)
    else:
        raise self.retry(countdown=1)


@app.task(bind=True, name="jobs.autoretry", autoretry_for=(ValueError,), retry_kwargs={"countdown": 1})
def autoretry(self):
    """Let Celery try again."""
    begin(self)
    if not self.request.retries:
        raise ValueError("the first attempt fails")
    note(FOLDER, "done", self.request.id)


@app.task(bind=True, name="jobs.fail")
def fail(self):
    """Fail each time."""
    begin(self)
    note(FOLDER, "done", self.request.id)
    raise ValueError("it always fails")


@app.task(bind=True, name="jobs.replaced", shared=False)
def replaced(self):
    """Leave the work to another."""
    begin(self)
    raise self.replace(work.si(0.1))


@app.task(bind=True, name="jobs.spread")
def spread(self, way, names):
    """Send many, by chunks or as a group."""
    begin(self)
    sent = mark.chunks([(name,) for name in names], 2) if way == "chunks" else group(mark.s(name) for name in names)
    sent.apply_async()
    note(FOLDER, "done", self.request.id)


@app.task(bind=True, name="jobs.head")
def head(self):
    """Be done when the fault is there."""
    begin(self)
    note(FOLDER, "done", self.request.id)


@app.task(bind=True, name="jobs.adds")
def adds(self):
    """Add another job to the chord that this one is in."""
    begin(self)
    self.add_to_chord(work.si(0.1))
    note(FOLDER, "done", self.request.id)


@app.task(bind=True, name="jobs.limited", time_limit=20)
def limited(self):
    """Be ended by the worker's main process, while the fault is there."""
    begin(self)
    note(FOLDER, "done", self.request.id)
    time.sleep(60)


def begin(task):
    """Work until the fault is there; later attempts find it there."""
    note(FOLDER, "start", task.request.id)
    Celery("another", broker="memory://")  # which is the current app of this thread from now on
    while not os.path.exists(f"{FOLDER}/fault"):
        time.sleep(0.1)
