"""The dead letters: jobs that were given up, kept in a queue of their broker that nothing consumes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from celerykit.brokers import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping

QUEUE = catalogue.DEAD_LETTERS
DELIVERIES = "celerykit_deliveries"
"""Message header: the number of earlier deliveries of the job."""
REJECTIONS = "celerykit_rejections"
"""Message header: the number of requeues by the task itself, by ``Reject(requeue=True)``."""
REFUSALS = "celerykit_refusals"
"""Message header: the number of requeues because the broker refused the job's follow-up jobs; it has no limit."""
REASON = "celerykit_reason"
"""Message header of a dead letter: the reason."""
ORIGIN = "celerykit_origin"
"""Message header: ``queue``, ``exchange`` and ``routing_key`` of the job's first delivery."""
HEADERS = (DELIVERIES, REJECTIONS, REFUSALS, REASON, ORIGIN)

OF_RABBITMQ = ("x-acquired-count", "x-death", "x-delivery-count", "x-first-death", "x-last-death")
"""Prefixes of RabbitMQ's own headers about a message's history; a new message must not have them."""


def deliveries(message: Any) -> int:
    """Return the number of deliveries of ``message``, this one included."""
    return int((message.headers or {}).get(DELIVERIES, 0)) + 1


def redelivery_delay(deliveries: int) -> int:
    """Return the seconds to wait after ``deliveries`` deliveries: 1, 2, 4, ... and at most 60."""
    return int(min(2 ** (min(deliveries, 7) - 1), 60))


def count(headers: dict[str, Any], seconds: float, counter: str = "") -> None:
    """Change the headers of a job that is requeued.

    :param seconds: the delay before the job may run, 0 for none.
    :param counter: the header that counts this requeue, an empty string for none.
    """
    if counter:
        headers[counter] = int(headers.get(counter, 0)) + 1
    if seconds:
        headers["eta"] = (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


def address(headers: dict[str, Any], reason: str, origin: Mapping[str, str]) -> None:
    """Change the headers of a job that becomes a dead letter.

    :param origin: ``queue``, ``exchange`` and ``routing_key`` of its delivery.
    """
    headers[DELIVERIES] = int(headers.get(DELIVERIES, 0)) + 1
    headers[REASON] = reason
    headers[ORIGIN] = dict(origin)
