"""The time of sending, as a header of a job's message: a worker computes the time in the queue from it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celery import signals

from celerykit.messages import dead_letters

if TYPE_CHECKING:
    from collections.abc import Mapping

SENT = "celerykit_sent"
"""Message header: seconds since the epoch, by the sender's clock."""


def install() -> None:
    """Add the header to all jobs that this process sends."""
    signals.before_task_publish.connect(_add_time, dispatch_uid="celerykit")


def ago(request: Mapping[str, Any]) -> float | None:
    """Return the seconds in the queue of a job that starts now.

    :param request: the job's headers, in the worker.
    :returns: None if the time is unknown, or the job was not in the queue all the time: delayed, or delivered before.
    """
    sent = request.get(SENT)
    again = request.get(dead_letters.DELIVERIES) or (request.get("delivery_info") or {}).get("redelivered")
    if not isinstance(sent, float) or again or request.get("eta"):
        return None
    return max(0.0, time.time() - sent)  # clocks of two machines differ


def _add_time(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        for name in dead_letters.HEADERS:  # Celery copies the job's headers to its retry, a new job without deliveries
            headers.pop(name, None)
        headers[SENT] = time.time()
