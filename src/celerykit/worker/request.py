"""Celery's request of a job, with an end to deliveries that kill their pool child each time."""

from __future__ import annotations

import logging
import os
from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery.worker.request import Request as CeleryRequest

from celerykit import deadletters, settings

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)


class DeliveriesExceeded(Exception):  # noqa: N818  # reads as the reason in a job's result
    """A job was started as often as ``CELERYKIT_MAX_DELIVERIES`` allows, and its pool child or worker died."""


class Request(CeleryRequest):  # type: ignore[misc]
    """The request class of every task that names none of its own (``Task.Request``)."""

    def gave_up(self) -> bool:
        """Give the job up if as many workers have died with it as it may be started, and say whether."""
        deliveries = deadletters.deliveries(self.message) - 1
        # Nearly every job comes for the first time, and the settings are read anew.
        if not deliveries or deliveries < settings.from_environment(os.environ).max_deliveries:
            return False
        with self.app.producer_or_acquire() as producer:
            self._bury(producer, deliveries)
        super().on_failure(_given_up(deliveries))
        return True

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Deliver a job whose child died again after a while, or give it up; anything else is Celery's."""
        if self._child_died(exc_info) and not self._success_was_stored():
            try:
                if self._deliver_again_or_bury():
                    return None
                exc_info = _given_up(deadletters.deliveries(self.message))
            except Exception as exc:  # a broker that refuses: Celery's own requeue is the fallback
                logger.warning("job %s goes back to its queue uncounted: %r", self.id, exc)
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def _child_died(self, exc_info: Any) -> bool:
        exc = exc_info.exception
        if isinstance(exc, ExceptionWithTraceback):
            exc = exc.exc
        on_purpose = self._already_cancelled or self._already_revoked
        lost = isinstance(exc, (WorkerLostError, SystemExit, KeyboardInterrupt)) and not on_purpose
        return bool(lost and self.task.acks_late and self.task.reject_on_worker_lost)

    def _deliver_again_or_bury(self) -> bool:
        """Send the job again and return True, or put it into the dead letters and return False."""
        deliveries = deadletters.deliveries(self.message)
        limit = settings.from_environment(os.environ).max_deliveries
        with self.app.producer_or_acquire() as producer:
            if deliveries >= limit:
                self._bury(producer, deliveries)
                return False
            delay = deadletters.redelivery_delay(deliveries)
            deadletters.send_again(self.app, producer, self.message, delay)
        logger.warning(
            "job %s[%s]: its pool child died, delivery %d of %d in %d s",
            self.name,
            self.id,
            deliveries + 1,
            limit,
            delay,
        )
        self._forget()
        return True

    def _bury(self, producer: Any, deliveries: int) -> None:
        deadletters.bury(producer, self.message, _reason(deliveries))
        logger.error("job %s[%s]: given up after %d deliveries, see the dead letters", self.name, self.id, deliveries)

    def _forget(self) -> None:
        from celery.worker import state

        state.task_ready(self)
        self.acknowledge()


def _reason(deliveries: int) -> str:
    return f"its pool child or its worker died at each of {deliveries} deliveries"


def _given_up(deliveries: int) -> Any:
    try:
        raise DeliveriesExceeded(_reason(deliveries)) from None
    except DeliveriesExceeded:
        return ExceptionInfo()
