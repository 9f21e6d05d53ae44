"""What a job leads to: its retry, links, errbacks, the rest of its chain, the body of its chord, its replacement.

A broker that is full or away refuses them. They are tried again for a while, in the job's own time; then the job goes
back to its queue. Whatever it leads to runs later, and some of it twice, if it had been sent already.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery import current_app
from celery.app import trace
from celery.app.trace import fast_trace_task, trace_task_ret
from celery.exceptions import BackendStoreError, Reject
from kombu.exceptions import OperationalError

from celerykit.brokers import refusals
from celerykit.compat import app_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

logger = logging.getLogger(__name__)

PATIENCE = 15.0
"""Seconds for which a job waits for the broker: a restart is over by then, and a slot is not taken for long."""
MARGIN = 2.0
"""Seconds before its time limit at which a job ceases to wait: the limit would end it as FAILURE."""
LONGEST_PAUSE = 2.0
"""Seconds between two attempts at most."""
FOR_GOOD = ("NoPermissionError", "InsufficientPrivilege")
"""Refusals that no waiting ends."""


class GivenBack(Reject):  # type: ignore[misc]
    """The end of a job that goes back to its queue, for what it leads to was refused."""


class Refused(BaseException):
    """What a job leads to was refused for too long. No ``except Exception`` on its way takes it for the job's own."""


class Job:
    """A job that runs here."""

    def __init__(self, app: Any, *, can_go_back: bool, end: float):
        self.app = app
        self.can_go_back = can_go_back
        """Whether its queue has it still; one that was acknowledged first waits until the broker is there again."""
        self.refused: BaseException | None = None
        """The last refusal of what it has sent of its own accord."""
        self.debts = 0
        """How many parts of Celery are sending what the job leads to."""
        self.is_patient = False
        """Whether it waits for as long as it takes, since nobody could do later what is being done."""
        self.end = end
        """When it has to go back, lest its time limit ends it as FAILURE."""

    @property
    def give_up(self) -> float:
        """When to give up an attempt that begins now."""
        if self.is_patient or not self.can_go_back:
            return math.inf
        return min(time.monotonic() + PATIENCE, self.end)


class Outcome(Job):
    """A job whose outcome the worker's own process deals with: nothing waits there, but is done later."""

    @property
    def give_up(self) -> float:
        """When to give up an attempt that begins now: after it."""
        return 0.0


class Producer:
    """A job's producer, which tries again what the job leads to, and notes what else was refused."""

    def __init__(self, producer: Any, job: Job):
        self._producer = producer
        self._job = job

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def publish(self, *args: Any, **options: Any) -> Any:
        """Publish, as :meth:`kombu.Producer.publish`.

        :raises kombu.exceptions.OperationalError: if it is refused for longer than the job waits.
        """
        connection = self._producer.connection
        refused = (OperationalError, *connection.recoverable_connection_errors, *connection.recoverable_channel_errors)
        give_up, pause = self._job.give_up, 0.2
        if self._job.debts and options.get("retry"):
            # Each of Kombu's attempts would be several of these. Without "retry" Kombu would declare a queue otherwise:
            # one with bindings of its own is bound to Celery's default exchange, too.
            options["retry_policy"] = {**(options.get("retry_policy") or {}), "max_retries": 0}
        while True:
            began = time.monotonic()
            try:
                return self._producer.publish(*args, **options)
            except refused as exc:
                self._job.refused = exc
                # The next attempt takes as long as this one, at a server that does not answer.
                next_end = 2 * time.monotonic() - began + pause
                if not self._job.debts or not _may_be_tried_again(exc) or next_end > give_up:
                    raise
                logger.warning("what a job leads to is refused, and sent again in %g s: %r", pause, exc)
            self._producer.revive(connection)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


_job: ContextVar[Job | None] = ContextVar("celerykit_job", default=None)
current = _job.get


@contextmanager
def owing(*, patient: bool = False) -> Iterator[None]:
    """Have what is sent or stored herein done, or the job given back; outside of a job, nothing changes.

    :param patient: whether to wait for as long as it takes.
    :raises Refused: instead of the exception of a broker or result backend that is full or away.
    """
    job = current()
    if job is None:
        yield
        return
    was_patient, job.is_patient = job.is_patient, job.is_patient or patient
    job.debts += 1
    try:
        yield
    except Exception as exc:
        if job.can_go_back and is_refusal(exc):
            raise Refused(_words(exc)) from exc
        raise
    finally:
        job.debts -= 1
        job.is_patient = was_patient


@contextmanager
def of_outcome(app: Any) -> Iterator[None]:
    """Have :class:`Refused` raised herein for what a job of ``app`` leads to, as inside of the job."""
    token = _job.set(Outcome(app, can_go_back=True, end=math.inf))
    try:
        yield
    finally:
        _job.reset(token)


def is_refusal(exc: BaseException, app: Any = None) -> bool:
    """Say whether ``exc`` is of a broker or a result backend that may do later what it has refused.

    :param app: whose they are; that of the current job if it is not said. A job may have made another app the current
        one of its thread.
    """
    if isinstance(exc, Refused):
        return True
    exc = _told(exc)
    if isinstance(exc, OperationalError):
        return not _is_for_good(exc)
    if app is None:
        job = current()
        app = current_app if job is None else job.app
    return bool(refusals.of(exc) or (isinstance(exc, Exception) and app.backend.exception_safe_to_retry(exc)))


def let_pass(exc: BaseException) -> None:
    """Give the current job back, if ``exc``, with which it is about to fail, is a refusal of what it has sent itself.

    :raises Refused: then.
    """
    job = current()
    if job is None or job.refused is None or not job.can_go_back or not is_refusal(exc):
        return
    if job.refused in (exc, exc.__cause__):
        raise Refused(_words(exc)) from exc


def require_time(seconds: float) -> None:
    """Check that the current job may go on for so many seconds.

    :raises Refused: if its time limit would end it as FAILURE meanwhile, while its queue has it still.
    """
    job = current()
    if job is not None and job.can_go_back and time.monotonic() + seconds > job.end:
        raise Refused("the result backend is away, and the job's time is over")


def reason(exc_info: Any) -> str | None:
    """Return why a job is to go back to its queue, None if it has had another end."""
    exc = exc_info.exception
    if isinstance(exc, ExceptionWithTraceback):
        exc = exc.exc
    return str(exc.reason) if isinstance(exc, GivenBack) else None


def run(do: Callable[..., Any], task: Any, *args: Any, **options: Any) -> Any:
    """Run a job, as ``do`` of Celery does; one that goes back to its queue ends as :class:`GivenBack`.

    :param task: its task.
    :param args: its task's name, its id, its request, and what else ``do`` takes.
    """
    began = time.monotonic()
    end = began + _limit(task, args[2]) - MARGIN
    job = Job(task.app, can_go_back=bool(task.acks_late), end=end)
    token = _job.set(job)
    try:
        return do(*args, **options)
    except Refused as exc:
        return 1, _given_back(str(exc)), time.monotonic() - began
    except Exception as exc:  # Celery could not even store that the job has failed
        if not job.can_go_back or not is_refusal(exc):
            raise
        return 1, _given_back(_words(exc)), time.monotonic() - began
    finally:
        _job.reset(token)


def run_fast(name: str, *args: Any, **options: Any) -> Any:
    """Run a job by Celery's quicker way, with the worker's own tasks: a job may make another app the current one."""
    return run(fast_trace_task, trace._localized[0][name], name, *args, **options)


def run_any(name: str, *args: Any, **options: Any) -> Any:
    """Run a job by Celery's other way, with the current app's tasks."""
    return run(trace_task_ret, (options.get("app") or current_app).tasks[name], name, *args, **options)


TARGETS: Mapping[Any, Callable[..., Any]] = {fast_trace_task: run_fast, trace_task_ret: run_any}
"""What a pool runs for a job, and what it runs instead; a child knows both by name."""


def _given_back(words: str) -> Any:
    try:
        raise GivenBack(words, True)
    except GivenBack:
        return ExceptionInfo()


def _limit(task: Any, request: Mapping[str, Any]) -> float:
    hard, soft = request.get("timelimit") or (None, None)
    limits = (hard or app_settings.time_limit(task), soft or task.soft_time_limit)
    return min((float(limit) for limit in limits if limit), default=math.inf)


def _may_be_tried_again(exc: BaseException) -> bool:
    # RabbitMQ has what it has not confirmed in time, and delivers it when it has room: each attempt would be a copy.
    return not isinstance(exc.__cause__, TimeoutError) and not _is_for_good(exc)


def _is_for_good(exc: BaseException) -> bool:
    told = exc.__cause__ or exc
    # A lookup that fails is an error in a program, and among those of Kombu's connections to Redis.
    return isinstance(told, LookupError) or type(told).__name__ in FOR_GOOD


def _told(exc: BaseException) -> BaseException:
    """Return the exception that ``exc`` tells of, itself if it tells of none."""
    if isinstance(exc, Reject) and isinstance(exc.reason, BaseException):
        return exc.reason
    return exc.__cause__ or exc if isinstance(exc, BackendStoreError) else exc


def _words(exc: BaseException) -> str:
    return repr(_told(exc))
