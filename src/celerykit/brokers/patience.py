"""Retries of a result backend that answers and refuses: a job's result waits until the backend accepts it.

Celery retries while a backend is away, by ``result_backend_always_retry``, and treats any other error as the job's own.
Only workers install this: a program that sends jobs gets the error at once.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import threading
import time
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any

from celery.backends import base
from celery.utils.time import get_exponential_backoff_interval

from celerykit import releases
from celerykit.brokers import refusals
from celerykit.compat import retries

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)
#: The operator needs the two lines of an outage at any log level of the worker.
logger.setLevel(logging.INFO)

LOGGED_AFTER = 1.0
"""Seconds of refusals before a line is logged: a deadlock, for example, is over by then."""

_returning: ContextVar[Any] = ContextVar("celerykit_chord_part", default=None)
"""The backend to which this context now returns a chord's part, None if it returns none."""
_refusing: set[str] = set()
"""The names of the backends whose refusal this process has logged."""
_lock = threading.Lock()


def install(app: Any) -> None:
    """Make this worker process retry while the result backend of ``app`` refuses.

    The app's ``result_backend_always_retry`` and ``result_backend_max_retries`` apply. A second call changes nothing.
    The patches apply to Celery's backend classes, and so to every app of the process.
    """
    backend = app.backend
    for name in retries.methods_that_retry():
        replace(base.Backend, name, waiting if releases.lacks("one retry for all") else _ensuring)
    if module := sys.modules.get("celery.backends.redis"):
        for name in ("add_to_chord", "apply_chord", "mget", "set_chord_size"):
            replace(module.RedisBackend, name, waiting)
        replace(module.RedisBackend, "on_chord_part_return", _returning_part)
        replace(module.RedisBackend, "_create_client", _creating)
        replace(module.ResultConsumer, "consume_from", _listening)
        backend.__dict__.pop("client", None)
    if module := sys.modules.get("celery.backends.database"):
        replace(module.DatabaseBackend, "exception_safe_to_retry", _unless_final)
    if module := sys.modules.get("celery.backends.filesystem"):
        replace(module.FilesystemBackend, "set", _whole)


def wait(backend: Any, call: Callable[[], Any], is_lost: Callable[[Exception], bool] | None = None) -> Any:
    """Return the value of ``call()``, repeated as long as the result backend refuses.

    :param is_lost: says whether another error is a lost connection, after which the call is repeated, too.
    :raises Exception: the error of ``call``, if no retry can help, or if the app allows no further retry.
    """
    began, attempts = time.monotonic(), 0
    limit = math.inf if backend.max_retries is None else backend.max_retries
    while True:
        try:
            result = call()
        except Exception as exc:
            refusal = refusals.of(exc)
            if not (refusal or (is_lost and is_lost(exc))) or not backend.always_retry or attempts >= limit:
                raise
            attempts += 1
            if refusal and time.monotonic() - began >= LOGGED_AFTER:
                _log_refusal(backend, refusal)
            _prepare(backend, exc, refusal)
            _pause(backend, attempts)
        else:
            if attempts:
                _log_recovery(backend)
            return result


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a method by ``make(method)``, once."""
    method = getattr(owner, name)
    if not hasattr(method, "replaced_by_celerykit"):
        made = wraps(method)(make(method))
        made.replaced_by_celerykit = True  # type: ignore[attr-defined]
        setattr(owner, name, made)


def _ensuring(method: Any) -> Any:
    """Retry refusals inside each function that Celery itself retries after a lost connection."""

    def ensure(backend: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
        @wraps(func)
        def patient(*args: Any, **kwargs: Any) -> Any:
            return wait(backend, lambda: func(*args, **kwargs))

        return method(backend, patient, *args, **kwargs)

    return ensure


def waiting(method: Any) -> Any:
    """Repeat a refused call, such as the start of a chord: the backend has done no part of it."""
    return lambda backend, *args, **kwargs: wait(backend, lambda: method(backend, *args, **kwargs))


def _returning_part(method: Any) -> Any:
    """Retry each command that returns a job's part to a chord: to give up halfway would lose the chord."""

    def on_chord_part_return(backend: Any, *args: Any, **kwargs: Any) -> Any:
        before = _returning.set(backend)
        try:
            return method(backend, *args, **kwargs)
        finally:
            _returning.reset(before)

    return on_chord_part_return


def _creating(method: Any) -> Any:
    """Wrap the retry policy of every client of Redis."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    def create_client(backend: Any, **params: Any) -> Any:
        client = method(backend, **params)
        # The default of a connection without a retry policy.
        retry = client.get_retry() or Retry(NoBackoff(), int(bool(params.get("retry_on_timeout"))))
        client.set_retry(_patient(retry))
        return client

    return create_client


def _patient(retry: Any) -> Any:
    """Return the retry policy of a client of Redis, without a limit while a job returns a chord's part."""

    class Patience(type(retry)):  # type: ignore[misc]
        def call_with_retry(self, do: Any, fail: Any, *args: Any, **kwargs: Any) -> Any:
            once = super().call_with_retry
            backend = _returning.get()
            if backend is None:
                return once(do, fail, *args, **kwargs)

            def attempt() -> Any:
                try:
                    return once(do, fail, *args, **kwargs)
                except Exception as exc:
                    if refusals.of(exc):
                        # The server may have become a replica: disconnect, so that the next attempt finds the master.
                        fail(exc, 1) if kwargs.get("with_failure_count") else fail(exc)
                    raise

            return wait(backend, attempt, lambda exc: not isinstance(exc, KeyError) and _is_lost(backend, exc))

    return Patience(retry._backoff, retry._retries, retry._supported_errors)


def _is_lost(backend: Any, exc: BaseException) -> bool:
    return bool(backend.exception_safe_to_retry(exc))


def _listening(method: Any) -> Any:
    """Retry the subscription to a sent job's result, so that the rest of its group is sent as well.

    Celery raises its own error or the client's, and marks the job as subscribed even so.
    """

    def consume_from(consumer: Any, task_id: str) -> None:
        def listen() -> None:
            try:
                method(consumer, task_id)
            except Exception:
                consumer.subscribed_to.discard(consumer._get_key_for_task(task_id))
                raise

        backend = consumer.backend
        wait(backend, listen, lambda exc: any(_is_lost(backend, each) for each in (exc, exc.__cause__) if each))

    return consume_from


def _unless_final(method: Any) -> Any:
    """Exclude final errors from retries: Celery retries every error of a database, and would hold a slot for ever."""
    return lambda backend, exc: not refusals.is_final(exc) and method(backend, exc)


def _whole(method: Any) -> Any:
    """Delete a half-written result after an error such as a full disk: no reader can parse it."""

    def put(backend: Any, key: Any, value: Any) -> None:
        try:
            method(backend, key, value)
        except OSError:
            with contextlib.suppress(OSError):
                backend.delete(key)
            raise

    return put


def _prepare(backend: Any, exc: Exception, refusal: refusals.Refusal | None) -> None:
    """Drop stale connections before the next attempt, and report progress of the main thread."""
    try:
        retries.retry_hook(backend)(exc)
        if refusal and refusal.word == "READONLY":
            # The host name may point to another server by now; open connections still lead to the old one.
            backend.client.connection_pool.disconnect(inuse_connections=False)
    except Exception:  # as in Celery: a failed preparation must not prevent the next attempt
        logger.exception("the next attempt to reach the result backend could not be prepared")


def _pause(backend: Any, attempts: int) -> None:
    base_ms, longest = backend.base_sleep_between_retries_ms, backend.max_sleep_between_retries_ms
    backend._sleep(get_exponential_backoff_interval(base_ms, min(attempts, 30), longest, True) / 1000)


def _log_refusal(backend: Any, refusal: refusals.Refusal) -> None:
    with _lock:
        if (name := _name(backend)) in _refusing:
            return
        _refusing.add(name)
    logger.warning(
        "the result backend %s refuses results: %s; they wait, and their jobs hold slots. %s",
        *(name, refusal.word, refusal.remedy),
    )


def _log_recovery(backend: Any) -> None:
    with _lock:
        if (name := _name(backend)) not in _refusing:
            return
        _refusing.discard(name)
    logger.info("the result backend %s accepts results again", name)


def _name(backend: Any) -> str:
    """Return the URL of a backend without its password, or its setting where it has no URL."""
    return str(backend.as_uri() or backend.app.conf.result_backend)
