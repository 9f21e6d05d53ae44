"""The timers of a worker's event loop, without those that were cancelled.

Prefork sets one for the time limit of each job and cancels it when the job ends. Kombu keeps a cancelled timer until it
is due: 0.5 KB a job for the whole of its limit, tens of MB in an hour of short jobs.
"""

from __future__ import annotations

import heapq
from typing import Any

from celery import bootsteps

SWEEP = 5.0
"""Seconds between two looks: those of 1,000 jobs a second take 2.5 MB until then."""


class Timers(bootsteps.StartStopStep):  # type: ignore[misc]
    """Lets go of cancelled timers as long as the event loop turns."""

    requires = ("celery.worker.components:Pool",)

    def start(self, worker: Any) -> None:
        """Begin, where there is an event loop: elsewhere no job has a timer."""
        if worker.hub is not None:
            worker.hub.timer.call_repeatedly(SWEEP, sweep, (worker.hub.timer,))


def sweep(timer: Any) -> None:
    """Remove every cancelled entry of a :class:`kombu.asynchronous.timer.Timer`, in place: its loop has the list."""
    pending = [item for item in timer._queue if not item.entry.canceled]
    if len(pending) < len(timer._queue):
        heapq.heapify(pending)
        timer._queue[:] = pending
