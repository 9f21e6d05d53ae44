"""Where Celery sends what a job leads to, and how it is told to have that done or the job given back."""

from __future__ import annotations

import functools
import sys
from contextlib import nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from celery import bootsteps
from celery.app.task import Task
from celery.app.trace import TraceInfo
from celery.backends.base import Backend
from celery.exceptions import WorkerShutdown, WorkerTerminate

from celerykit import releases
from celerykit.compat import job_endings, retries
from celerykit.worker import consequences, settlement
from celerykit.worker.consequences import Refused, owing

if TYPE_CHECKING:
    from collections.abc import Callable


class Publishing(bootsteps.Step):  # type: ignore[misc]
    """Has what jobs lead to sent, or the jobs given back. Before the pool forks: its children have all of this, too."""

    requires = ("celery.worker.components:Pool", "celery.worker.components:Timer")

    def create(self, worker: Any) -> None:
        """Put itself between Celery and whatever it sends from inside a job."""
        settlement.Request.timer = worker.timer
        worker.pool.apply_async = _within_a_job(worker.pool, worker.pool.apply_async)
        amqp = worker.app.amqp
        amqp.send_task_message = _by_the_job(amqp.send_task_message)
        amqp._retry_publish = _owed(_send)
        for owner, names in OWED.items():
            for name in names:
                _replace(owner, name, _owed)
        for name in ("mark_as_done", "mark_as_failure"):
            _replace(Backend, name, _to_the_end)
        _replace(Backend, "_sleep", _in_time)
        _replace(Task, "retry", _decided)
        _replace(Task, "add_to_chord", _counted_if_sent)
        _replace(TraceInfo, "handle_failure", _unless_refused)
        if _can_return_twice(worker.app.backend):
            _replace(_redis().RedisBackend, "on_chord_part_return", _with_a_claim_to_release)


OWED: dict[type, tuple[str, ...]] = {
    Task: ("on_replace",),
    Backend: ("_call_task_errbacks", "mark_as_retry"),
}
"""Methods of Celery that send or store what a job leads to."""


GREEN = frozenset({"gevent", "eventlet", "greenlet"})
"""Packages that end greenlets by exceptions of theirs."""


class Cleanup:
    """A chord's cleanup, which leaves everything as it was if the body was not sent: another attempt needs it."""

    def __init__(self, backend: Any, script: Any):
        self._backend = backend
        self._script = script

    def __call__(self, keys: Any, args: Any, client: Any) -> Any:
        """Clean up, or give up the claim to the body; while it lasts, nobody sends that."""
        if not isinstance(sys.exc_info()[1], Refused):
            return self._script(keys=keys, args=args, client=client)
        self._backend._ensure_retryable(_release, keys[0], args[0], client)
        return 1


class Part:
    """The return of a chord's part, with the claim that it may get; a failed chord is not cleaned up by script."""

    def __init__(self, backend: Any, script: Any):
        self._backend = backend
        self._script = script
        self._claim: ContextVar[tuple[Any, str] | None] = ContextVar("celerykit_claim", default=None)

    def __call__(self, keys: Any, args: Any, client: Any) -> Any:
        """Return the part, and note the claim."""
        self._claim.set((keys[-1], args[-1]))
        return self._script(keys=keys, args=args, client=client)

    def sparing(self, delete: Callable[..., Any], client: Any) -> Callable[..., Any]:
        """Return the client's ``delete``, which keeps the size of a chord whose errbacks were refused."""

        @functools.wraps(delete)
        def spare(*keys: Any) -> Any:
            claim = self._claim.get()
            if claim is None or not isinstance(sys.exc_info()[1], Refused):
                return delete(*keys)
            self._claim.set(None)
            self._backend._ensure_retryable(_release, *claim, client)
            return 0

        spare.celerykit = True  # type: ignore[attr-defined]
        return spare


def _release(claim: Any, token: str, client: Any) -> None:
    if client.get(claim) == token.encode():
        client.delete(claim)


def _redis() -> Any:
    """Return Celery's module of the result backend in Redis, None in a worker that has another."""
    return sys.modules.get("celery.backends.redis")


def _can_return_twice(backend: Any) -> bool:
    """Say whether a part of a chord may be returned once more, if what the chord leads to was refused."""
    module = _redis()
    is_redis = module is not None and isinstance(backend, module.RedisBackend)
    return is_redis and not releases.lacks("claims of chords")


def _send(publish: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Take the place of Celery's own few attempts at a callback."""
    return publish(*args, **options)


def _replace(owner: type, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Wrap a method of Celery, once in a process."""
    method = getattr(owner, name)
    if not hasattr(method, "celerykit"):
        wrapped = wrap(method)
        wrapped.celerykit = True  # type: ignore[attr-defined]
        setattr(owner, name, wrapped)


def _owed(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def send(*args: Any, **options: Any) -> Any:
        with owing():
            return method(*args, **options)

    return send


def _to_the_end(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the storing of a job's end, with which its part of a chord returns.

    Redis is the only result backend that can be told a second time. What others have counted, they have counted.
    """

    @functools.wraps(method)
    def mark(self: Any, *args: Any, **options: Any) -> Any:
        is_part = any(getattr(told, "chord", None) for told in (*args, options.get("request")))
        with owing(patient=is_part and not _can_return_twice(self)):
            return method(self, *args, **options)

    return mark


def _in_time(sleep: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the pause between two attempts at storing something."""

    @functools.wraps(sleep)
    def pause(self: Any, seconds: float) -> None:
        consequences.require_time(seconds)
        sleep(self, seconds)

    return pause


def _decided(retry: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(retry)
    def send(*args: Any, **options: Any) -> Any:
        if job := consequences.current():
            job.refused = None  # the app has seen the refusal, and says itself what is to follow
        with owing():
            return retry(*args, **options)

    return send


def _counted_if_sent(add: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a job's adding to its own chord, which waits for whatever was counted, sent or not."""

    @functools.wraps(add)
    def add_to_chord(self: Any, sig: Any, lazy: bool = False) -> Any:
        with owing():
            counted = add(self, sig, lazy=True)
        if lazy:
            return counted
        try:
            with owing():
                return counted.delay()
        except Refused:
            backend = self.backend
            retries.retried(backend, backend.client.incr, backend.get_key_for_group(self.request.group, ".t"), -1)
            raise

    return add_to_chord


def _unless_refused(handle: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handle)
    def handle_failure(self: Any, task: Any, req: Any, *args: Any, **options: Any) -> Any:
        if not req.is_eager:
            consequences.let_pass(self.retval)
        return handle(self, task, req, *args, **options)

    return handle_failure


def _with_a_claim_to_release(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def on_chord_part_return(self: Any, *args: Any, **options: Any) -> Any:
        if not isinstance(self._chord_cleanup_script, Cleanup):
            self._chord_cleanup_script = Cleanup(self, self._chord_cleanup_script)
            self._chord_part_return_script = Part(self, self._chord_part_return_script)
        client = self.client
        if not hasattr(client.delete, "celerykit"):
            client.delete = self._chord_part_return_script.sparing(client.delete, client)
        return method(self, *args, **options)

    return on_chord_part_return


def _within_a_job(pool: Any, apply_async: Callable[..., Any]) -> Callable[..., Any]:
    tells = pool.uses_semaphore  # prefork, the only pool that calls the error_callback

    def apply(target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        target = consequences.TARGETS.get(target, target)
        done, failed = options.get("callback"), options.get("error_callback")
        if not tells and done and failed:
            target = _telling(target)
            options["callback"] = lambda told: (failed if isinstance(told, ExceptionInfo) else done)(told)
        return apply_async(target, args, kwargs, **options)

    return apply


def _telling(target: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``target`` with its exceptions as its answer.

    These pools tell nobody of an Exception, and the job is stuck; they take any other for the death of a process.
    """

    @functools.wraps(target)
    def tell(*args: Any, **options: Any) -> Any:
        try:
            return target(*args, **options)
        except (WorkerShutdown, WorkerTerminate):
            raise
        except BaseException as exc:
            if type(exc).__module__.partition(".")[0] in GREEN:
                raise  # the pool's own: a time limit, a greenlet that is killed
            return ExceptionInfo()

    return tell


def _by_the_job(send: Callable[..., Any]) -> Callable[..., Any]:
    def send_task_message(producer: Any, *args: Any, **options: Any) -> Any:
        job = consequences.current()
        if job is None:
            return send(producer, *args, **options)
        with owing() if job_endings.is_link_of_old() else nullcontext():
            return send(consequences.Producer(producer, job), *args, **options)

    return send_task_message
