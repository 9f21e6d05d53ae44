"""An app whose jobs end in ways that nobody thinks of."""

import asyncio
import os
import signal
import sys
import threading
import time

from celery import Celery, Task
from celery.worker.request import Request
from celerykit_survival import FOLDER, note

app = Celery("endings", include=["celerykit_survival"])


class Final(BaseException):
    """What no ``except Exception`` sees."""


class UnpicklableError(Exception):
    """An exception that holds a lock."""

    def __init__(self):
        super().__init__("has a lock")
        self.lock = threading.Lock()


class SpeechlessError(Exception):
    """An exception that cannot be shown."""

    def __repr__(self):
        raise RuntimeError("no words")

    __str__ = __repr__


class OwnRequest(Request):
    """A class of requests as Celery's documentation has it."""

    def on_failure(self, exc_info, send_failed_event=True, return_ok=False):
        """Note it."""
        note(FOLDER, "own", self.id)
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)


class OwnTask(Task):
    """A task that has it."""

    Request = "endings:OwnRequest"


RAISED = {
    "memory": MemoryError("too much"),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "generator_exit": GeneratorExit(),
    "cancelled": asyncio.CancelledError(),
    "final": Final("base"),
    "recursion": RecursionError("too deep"),
    "unpicklable": UnpicklableError(),
    "speechless": SpeechlessError(),
}


@app.task(bind=True, name="jobs.ends")
def ends(self, how):
    """End by what is named."""
    note(FOLDER, "start", self.request.id)
    if how == "unserializable":
        return threading.Lock()
    if how == "sys.exit":
        sys.exit("a reason")
    raise RAISED[how]


@app.task(bind=True, base=OwnTask, name="jobs.dies")
def dies(self):
    """Kill the pool child."""
    note(FOLDER, "start", self.request.id)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True, name="jobs.overdue")
def overdue(self):
    """Last longer than it may."""
    note(FOLDER, "start", self.request.id)
    time.sleep(30)


@app.task(name="jobs.told")
def told(request, exc, traceback):
    """Note who has failed."""
    note(FOLDER, "told", request.id)
