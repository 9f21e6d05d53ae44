"""Send workflows of the example, and look at what they return."""

from __future__ import annotations

from celery.result import AsyncResult
from driving import drive
from revoke_example import create_canvas
from tasks import identity
from visitors import MonitoringIdStampingVisitor

CALCULATED, REPLACED = 180, "replaced"


def send(number: int) -> list[str]:
    """Send half of each kind, and return the ids of their last jobs."""
    sent = []
    for _ in range(number // 2):
        canvas = create_canvas(n=3)
        canvas.stamp(MonitoringIdStampingVisitor())
        sent += [canvas.delay().id, identity.delay(REPLACED).id]
    return sent


drive(send, lambda sent: [job for job in sent if AsyncResult(job).result in (CALCULATED, REPLACED)])
