"""Jobs that come before their time: they wait on the broker, not in the worker's memory, where it can keep them."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from celery.utils.time import maybe_iso8601, maybe_make_aware
from celery.worker import state

from celerykit.worker import returns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

SOON = 1.0
"""Seconds that are not worth the way: Celery's timer sees to them, and to the fraction of what comes back."""
EXPIRED = 1.0
"""Seconds after its time limit of waiting at which a job is certain to be expired, by anybody's clock."""


def ahead() -> str:
    """Return a time, as Celery writes it, from which on a job's is not soon."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + SOON + 1.0))


def due(headers: Mapping[str, Any], timezone: Any) -> float | None:
    """Return when something is to be done about a job: it runs at its ETA, or it expires before.

    :param headers: of protocol 2, or a job of protocol 1.
    :param timezone: of the app, for times that name none.
    :returns: seconds since the epoch; None if it runs at once, or what it says is no time, of which Celery tells.
    """
    try:
        eta, expires = (_timestamp(headers.get(name), timezone) for name in ("eta", "expires"))
    except (AttributeError, OverflowError, TypeError, ValueError):
        return None
    if eta is None or expires is None:
        return eta
    return min(eta, expires + EXPIRED)


def putting_off(consumer: Any, receive: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return ``receive`` (a message of the broker to its task) without the jobs that the broker takes back for now."""
    controller, timezone = consumer.controller, consumer.app.timezone

    def on_task_received(message: Any) -> Any:
        job = _job(message)
        if not job.get("eta"):  # nearly every job
            return receive(message)
        when = due(job, timezone)
        if when is None or when - time.time() <= SOON or not _put_off(consumer.app, controller, message, job, when):
            return receive(message)
        return None

    return on_task_received


def _put_off(app: Any, controller: Any, message: Any, job: Mapping[str, Any], when: float) -> bool:
    if not returns.can_go_back(message) or _is_revoked(controller, job):
        return False
    return returns.put_off(app, message, when, str(job.get("id") or message.delivery_tag))


def _job(message: Any) -> Mapping[str, Any]:
    headers: Mapping[str, Any] = message.headers or {}
    if "task" in headers:
        return headers
    try:
        payload = message.payload
    except Exception:  # whatever it is, Celery says what is wrong with the message
        return {}
    return payload if isinstance(payload, dict) else {}


def _is_revoked(controller: Any, job: Mapping[str, Any]) -> bool:
    """Say whether a job is revoked, and so has no time to wait for."""
    revoked = getattr(controller, "revocations", None)
    if revoked is not None and revoked.applies_to_headers(job):
        state.revoked.add(job.get("id"))
    return job.get("id") in state.revoked


def _timestamp(told: Any, timezone: Any) -> float | None:
    return maybe_make_aware(maybe_iso8601(told), timezone).timestamp() if told else None
