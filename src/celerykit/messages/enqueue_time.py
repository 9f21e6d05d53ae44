"""When a job was sent, as a header of its message, by which its worker knows how long it was in the queue."""

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
    """Have whatever this process sends say so."""
    signals.before_task_publish.connect(_say_when, dispatch_uid="celerykit")


def ago(request: Mapping[str, Any]) -> float | None:
    """Return the seconds for which a job that begins now was in its queue.

    :param request: the job's headers, as a worker has them.
    :returns: None if nobody knows, or if it was not there all the time: sent for later, or delivered before.
    """
    sent = request.get(SENT)
    again = request.get(dead_letters.DELIVERIES) or (request.get("delivery_info") or {}).get("redelivered")
    if not isinstance(sent, float) or again or request.get("eta"):
        return None
    return max(0.0, time.time() - sent)  # clocks of two machines differ


def _say_when(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        for name in dead_letters.HEADERS:  # Celery gives a retry the headers of the job, whose deliveries it is not
            headers.pop(name, None)
        headers[SENT] = time.time()
