"""Celery's request of a job, with an end to deliveries that have no result."""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Any, NamedTuple

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery import signals
from celery.exceptions import Ignore, Reject, TaskRevokedError
from celery.worker import state
from celery.worker.request import Request as CeleryRequest
from kombu.utils.encoding import safe_repr

from celerykit.brokers import catalogue
from celerykit.brokers.rabbitmq_definitions import DELIVERY_LIMIT
from celerykit.compat import job_endings
from celerykit.config import settings
from celerykit.messages import dead_letters
from celerykit.worker import returns, termination

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)


class DeliveriesExceeded(Exception):  # noqa: N818  # reads as the reason in a job's result
    """A job was delivered as often as it may be, and no delivery had a result.

    ``CELERYKIT_MAX_DELIVERIES`` bounds how often its pool child or worker may die, or its hard time limit pass.
    """


class JobError(Exception):
    """What a job has raised, where Celery would take that for the worker's own: a MemoryError, a BaseException."""


class Cause(NamedTuple):
    """Why a delivery ended without a result."""

    counter: str
    """The message header that counts such deliveries."""
    text: str


DIED = Cause(dead_letters.DELIVERIES, "its pool child or its worker died")
LOST = Cause(dead_letters.DELIVERIES, "its pool child or its worker died, or was cut off or stuck,")
"""As far as others can tell; see docs/redis.md."""
TIMED_OUT = Cause(dead_letters.DELIVERIES, "it ran beyond its hard time limit")
REJECTED = Cause(dead_letters.REJECTIONS, "its task rejected it")


class Request(CeleryRequest):  # type: ignore[misc]
    """The request class of every task that names none of its own (``Task.Request``)."""

    failed = 0
    """How many jobs of this worker have failed; a class attribute of :class:`Request` alone."""
    _cause = TIMED_OUT
    _told_to_end = False

    def gave_up(self) -> bool:
        """Give the job up if as many workers were lost with it as it may be started, and say whether."""
        deliveries = dead_letters.deliveries(self.message) - 1
        if not deliveries or deliveries < _limit(DIED):  # nearly every job comes for the first time
            return False
        reason = _reason(LOST, deliveries)
        self._bury(reason)
        super().on_failure(_given_up(reason))
        return True

    def give_back(self, reason: str, *, counter: str = "") -> None:
        """Put the job back into its queue, to run after a while, and settle its message.

        :param reason: why, for the log.
        :param counter: the message header that counts this, nothing if it does not count.
        :raises Exception: of the broker's client, if it does not take the job.
        """
        times = int((self.message.headers or {}).get(counter, 0)) + 1
        delay = dead_letters.redelivery_delay(times)
        settled = returns.send_back(self.app, self.message, delay, counter)
        self._settle(settled)
        logger.warning("job %s[%s] runs again in %d s: %s", self.name, self.id, delay, reason)

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """End the job as its pool can, by the signal that is told or a TERM.

        :raises termination.NotPossibleError: if the pool can end no job.
        """
        if self.time_start is None:
            # What is not accepted yet is looked at then, and comes here again.
            super().terminate(pool, signal or termination.TERM)
            return
        self._told_to_end = True
        try:
            super().terminate(termination.reaching(pool), signal or termination.TERM)
        except NotImplementedError as exc:
            raise termination.NotPossibleError(self, pool) from exc

    def on_accepted(self, pid: Any, time_accepted: float) -> None:
        """Begin; a job that was to be ended before does not begin in a pool that runs it in this very thread.

        :raises celery.exceptions.TaskRevokedError: instead.
        """
        if self._terminate_on_ack is not None and not termination.is_prefork(self._terminate_on_ack[0]):
            self._announce_revoked("terminated", True, self._terminate_on_ack[1], False)
            raise TaskRevokedError(self.id)
        super().on_accepted(pid, time_accepted)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        """End what took too long; one that was ended already has its outcome, however long its child takes."""
        return None if self._was_ended() else super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Count what failed; what has no result is delivered again, and given up in the end."""
        exc = _exception_of(exc_info)
        if isinstance(exc, TimeLimitExceeded) and self._was_ended():
            return None  # it was slow to end, and stays REVOKED
        if isinstance(exc, Terminated) and not self._told_to_end and not self._was_ended():
            # The signal was for another job of this child, which had just ended.
            exc_info = termination.lost(exc)
            exc = _exception_of(exc_info)
        if not isinstance(exc, (Ignore, Reject)):
            Request.failed += 1
        if self._is_own_exit(exc):
            # Clients rebuild an Exception alone from its name.
            exits = isinstance(exc, (SystemExit, KeyboardInterrupt))
            return self._fail(job_endings.worker_lost(exc) if exits else _as_result(exc))
        if isinstance(exc, MemoryError):
            exc_info = _as_result(exc)
        self._cause = REJECTED if isinstance(exc, Reject) else DIED if isinstance(exc, WorkerLostError) else TIMED_OUT
        if self._would_come_back(exc):
            if returns.is_broadcast(self.message):
                return self._fail(exc_info)
            if self._is_last() and not (self._cause is DIED and job_endings.success_was_stored(self)):
                reason = _reason(self._cause, self._times())
                if self._try_to(self._bury, reason):
                    exc_info = _given_up(reason)
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def reject(self, requeue: bool = False) -> None:
        """Put the job back, counted and after a while, or into the dead letters; Celery alone forgets it."""
        if self.acknowledged:
            return
        if self._is_ours_to_keep(requeue) and self._try_to(self._return if requeue else self._bury_rejected):
            self.send_event("task-rejected", requeue=requeue)
        else:
            super().reject(requeue)

    def _is_ours_to_keep(self, requeue: bool) -> bool:
        if not returns.can_go_back(self.message):
            return False
        # There a policy, or the app, says what becomes of a rejected message: it has a dead letter exchange.
        return requeue or not catalogue.is_rabbitmq(self.app)

    def _try_to(self, settle: Any, *args: Any) -> bool:
        try:
            settle(*args)
        except Exception as exc:  # whatever the broker's client raises, Celery's own way is the fallback
            logger.warning("job %s[%s] goes back to its queue uncounted: %r", self.name, self.id, exc)
            return False
        return True

    def _return(self) -> None:
        times = self._times()
        if times >= _limit(self._cause):
            self._bury(_reason(self._cause, times))
        else:
            text = f"{self._cause.text}; this was delivery {times} of {_limit(self._cause)}"
            self.give_back(text, counter=self._cause.counter)

    def _bury_rejected(self) -> None:
        self._bury(
            "its task rejected it" if self._cause is REJECTED else "it failed, and failures are not acknowledged"
        )

    def _bury(self, reason: str) -> None:
        self._settle(returns.bury(self.app, self.message, reason))
        logger.error("job %s[%s] is in the dead letters: %s", self.name, self.id, reason)

    def _settle(self, settled: bool) -> None:
        if settled:
            self.acknowledged = True
        else:
            self.acknowledge()

    def _is_own_exit(self, exc: Any) -> bool:
        """Say whether the job has raised what ends a process: pools tell so of nothing but the job's own."""
        return not isinstance(exc, Exception) and not self._was_ended()

    def _was_ended(self) -> bool:
        return bool(self._already_cancelled or self._already_revoked)

    def _would_come_back(self, exc: Any) -> bool:
        if isinstance(exc, Reject):
            return bool(exc.requeue)
        lost = isinstance(exc, WorkerLostError) and not self._was_ended()
        return bool(lost and self.task.acks_late and self.task.reject_on_worker_lost)

    def _times(self) -> int:
        return int((self.message.headers or {}).get(self._cause.counter, 0)) + 1

    def _is_last(self) -> bool:
        return not self.acknowledged and self._times() >= _limit(self._cause)

    def _fail(self, exc_info: Any) -> None:
        """End as FAILURE, as Celery does with a job whose worker is lost and whose message is not rejected."""
        exc = _exception_of(exc_info)
        state.task_ready(self)
        self.acknowledge()
        self.task.backend.mark_as_failure(self.id, exc, request=self._context, store_result=self.store_errors)
        told = {"exception": exc, "args": self.args, "kwargs": self.kwargs, "traceback": exc_info.traceback}
        self.task.request_stack.push(self._context)
        try:
            signals.task_failure.send(sender=self.task, task_id=self.id, einfo=exc_info, **told)
        finally:
            self.task.request_stack.pop()
        shown = safe_repr(exc)  # type: ignore[no-untyped-call]
        self.send_event("task-failed", exception=shown, traceback=exc_info.traceback)
        logger.error("job %s[%s] failed: %s", self.name, self.id, shown)


def _exception_of(exc_info: Any) -> Any:
    exc = exc_info.exception
    return exc.exc if isinstance(exc, ExceptionWithTraceback) else exc


def _as_result(exc: BaseException) -> Any:
    try:
        raise JobError(f"{type(exc).__name__}: {_words(exc)}") from None
    except JobError:
        return ExceptionInfo()


def _words(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:  # the app's own code, which may raise anything
        return "(it cannot be shown)"


def _limit(cause: Cause) -> int:
    """Return how many deliveries may end like this, the last included."""
    # A task that puts its job back waits for something: it may as often as RabbitMQ lets it.
    return DELIVERY_LIMIT if cause is REJECTED else _most_deliveries()


@cache
def _most_deliveries() -> int:
    return settings.from_environment(os.environ).max_deliveries


def _reason(cause: Cause, deliveries: int) -> str:
    # Those before may have ended for another reason that counts the same.
    return f"{cause.text} at the last of {deliveries} deliveries, and none had a result"


def _given_up(reason: str) -> Any:
    try:
        raise DeliveriesExceeded(reason) from None
    except DeliveriesExceeded:
        return ExceptionInfo()
