"""The end of a request: whatever happens while its outcome is dealt with, its message is settled."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.worker import state

from celerykit.brokers import catalogue
from celerykit.messages import dead_letters
from celerykit.worker import consequences, request, returns, room

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

ROOM = room.Room()
UNSETTLED = request.Cause(dead_letters.DELIVERIES, "its outcome could not be dealt with")

OUT_OF_MEMORY = 6
"""Attempts, half a minute, after which a lack of memory is the job's own: a hook may need more than there is."""


class Request(request.Request):
    """A request whose outcome is dealt with once more if a broker or a result backend refuses a part of that."""

    timer: Any = None
    """The worker's."""
    _has_failed = False
    """Whether its failure has been dealt with."""

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> Any:
        """Do what Celery does, or do it later."""
        return self._surely(partial(super().on_success, failed__retval__runtime, **kwargs), self._come_again)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        """Do what Celery does, or do it later; the job has had its time, and does not run again for a hook's error."""
        if self._has_failed:
            # A pool tells of a hard limit twice, as of a failure first: errbacks and chord have been told.
            self._context.update(errbacks=None, chain=None, chord=None)
        return self._surely(partial(super().on_timeout, soft, timeout), None if soft else self.acknowledge)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Give back a job for what it leads to was refused; do anything else as Celery does, or do it later."""
        reason = consequences.reason(exc_info)
        if reason is not None and not self.acknowledged and returns.can_go_back(self.message):
            return self._surely(partial(self._go_back, reason))
        return self._surely(partial(self._fail_as_in_celery, exc_info, send_failed_event, return_ok), self._come_again)

    def _fail_as_in_celery(self, *told: Any) -> Any:
        result = super().on_failure(*told)
        self._has_failed = True
        return result

    def _surely(self, deal: Callable[[], Any], settle: Callable[[], Any] | None = None, attempt: int = 1) -> Any:
        """Deal with the outcome, now or later.

        :param settle: what to do about an error that is no refusal; without it, that is tried again, too.
        """
        try:
            with consequences.of_outcome(self.app):
                return deal()
        except (Exception, consequences.Refused) as exc:
            short = isinstance(exc, MemoryError) and attempt < OUT_OF_MEMORY
            passes = short or consequences.is_refusal(exc, self.app)
            if settle is not None and not passes:
                logger.exception("job %s[%s]: its outcome could not be dealt with", self.name, self.id)
                return None if self.acknowledged else self._surely(settle)
            delay = dead_letters.redelivery_delay(attempt)
            logger.warning("job %s[%s]: its outcome is dealt with in %d s: %r", self.name, self.id, delay, exc)
            self.timer.call_after(delay, self._surely, (deal, settle, attempt + 1))
            return None

    def _go_back(self, reason: str) -> None:
        state.task_ready(self)
        if getattr(self.message.channel, "connection", self) is None and catalogue.is_rabbitmq(self.app):
            return  # its connection is gone, and RabbitMQ has put it back by itself
        ROOM.require(self.app)
        self.give_back(reason, counter=dead_letters.REFUSALS)

    def _come_again(self) -> None:
        self._cause = UNSETTLED
        self.reject(requeue=True)
