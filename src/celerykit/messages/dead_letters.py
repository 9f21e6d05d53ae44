"""The dead letters: jobs that were given up, kept in a queue of the same broker that nothing consumes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from celerykit.brokers import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping

QUEUE = catalogue.DEAD_LETTERS
DELIVERIES = "celerykit_deliveries"
"""Message header: how often the job was delivered before, without this time."""
REJECTIONS = "celerykit_rejections"
"""Message header: how often the job's own task has put it back, by ``Reject(requeue=True)``."""
REFUSALS = "celerykit_refusals"
"""Message header: how often the job went back because what it leads to was refused; nothing bounds that."""
REASON = "celerykit_reason"
"""Message header of a dead letter: why it was given up."""
ORIGIN = "celerykit_origin"
"""Message header: ``queue``, ``exchange`` and ``routing_key`` by which the job was delivered first."""
HEADERS = (DELIVERIES, REJECTIONS, REFUSALS, REASON, ORIGIN)

OF_RABBITMQ = ("x-acquired-count", "x-death", "x-delivery-count", "x-first-death", "x-last-death")
"""Beginnings of the headers in which RabbitMQ writes a message's past, which a new message does not have."""


def deliveries(message: Any) -> int:
    """Return how often ``message`` was delivered, this time included."""
    return int((message.headers or {}).get(DELIVERIES, 0)) + 1


def redelivery_delay(deliveries: int) -> int:
    """Return the seconds to wait after ``deliveries`` deliveries: 1, 2, 4, ... and at most 60."""
    return int(min(2 ** (min(deliveries, 7) - 1), 60))


def count(headers: dict[str, Any], seconds: float, counter: str = "") -> None:
    """Change the headers of a job that goes back into its queue.

    :param seconds: how long it is not to run, 0 if it may at once.
    :param counter: the header that counts this, nothing if it does not count.
    """
    if counter:
        headers[counter] = int(headers.get(counter, 0)) + 1
    if seconds:
        headers["eta"] = (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


def address(headers: dict[str, Any], reason: str, origin: Mapping[str, str]) -> None:
    """Change the headers of a job that becomes a dead letter.

    :param origin: ``queue``, ``exchange`` and ``routing_key`` by which it came.
    """
    headers[DELIVERIES] = int(headers.get(DELIVERIES, 0)) + 1
    headers[REASON] = reason
    headers[ORIGIN] = dict(origin)
