"""Patience with a result backend that answers and refuses: what a job leaves there waits until it is taken.

Celery waits for one that is away, by ``result_backend_always_retry``, and takes any other error for the job's own.
To be put in place in a worker alone: whoever sends jobs is told at once.
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
#: Two lines an outage are for the operator, whatever the worker's own log level is.
logger.setLevel(logging.INFO)

SAID_AFTER = 1.0
"""Seconds after which a refusal is worth a line: what passes by itself, such as a deadlock, has passed by then."""

_returning: ContextVar[Any] = ContextVar("celerykit_chord_part", default=None)
"""The backend to which a job of a chord returns its part just now."""
_refusing: set[str] = set()
"""The backends of which this process has said that they refuse."""
_lock = threading.Lock()


def install(app: Any) -> None:
    """Let this process, which is a worker's, wait for the result backend of ``app`` and of its tasks.

    An app's own ``result_backend_always_retry`` and ``result_backend_max_retries`` hold here, too. May be called more
    than once. What Celery has imported for its backends is changed, for every app of the process.
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
    """Return what ``call`` returns, and make it anew as long as the result backend refuses.

    :param is_lost: says of which other errors to wait for the end, too.
    :raises Exception: what ``call`` raises, if no wait mends that, or if the app wants no more attempts.
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
            if refusal and time.monotonic() - began >= SAID_AFTER:
                _say_refused(backend, refusal)
            _prepare(backend, exc, refusal)
            _pause(backend, attempts)
        else:
            if attempts:
                _say_taken(backend)
            return result


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what ``make`` makes of a method in its place, once."""
    method = getattr(owner, name)
    if not hasattr(method, "replaced_by_celerykit"):
        made = wraps(method)(make(method))
        made.replaced_by_celerykit = True  # type: ignore[attr-defined]
        setattr(owner, name, made)


def _ensuring(method: Any) -> Any:
    """Wait for the end of refusals in whatever Celery retries by itself; it sees to lost connections."""

    def ensure(backend: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
        @wraps(func)
        def patient(*args: Any, **kwargs: Any) -> Any:
            return wait(backend, lambda: func(*args, **kwargs))

        return method(backend, patient, *args, **kwargs)

    return ensure


def waiting(method: Any) -> Any:
    """Say again what is refused, such as what a job says of a chord that it starts: nothing of it has been done."""
    return lambda backend, *args, **kwargs: wait(backend, lambda: method(backend, *args, **kwargs))


def _returning_part(method: Any) -> Any:
    """Return a job's part to a chord, each command of which waits: what comes after one must not be given up."""

    def on_chord_part_return(backend: Any, *args: Any, **kwargs: Any) -> Any:
        before = _returning.set(backend)
        try:
            return method(backend, *args, **kwargs)
        finally:
            _returning.reset(before)

    return on_chord_part_return


def _creating(method: Any) -> Any:
    """Give every client of Redis patience, in the place where it sees to its own retries."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    def create_client(backend: Any, **params: Any) -> Any:
        client = method(backend, **params)
        # As a connection has it that is told nothing.
        own = client.get_retry() or Retry(NoBackoff(), int(bool(params.get("retry_on_timeout"))))
        client.set_retry(_patient(own))
        return client

    return create_client


def _patient(retry: Any) -> Any:
    """Return the retries of a client of Redis, which have no end while a part is returned to a chord."""

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
                        # Whoever has become a replica is not asked again: the next connection goes to the master.
                        fail(exc, 1) if kwargs.get("with_failure_count") else fail(exc)
                    raise

            return wait(backend, attempt, lambda exc: not isinstance(exc, KeyError) and _is_lost(backend, exc))

    return Patience(retry._backoff, retry._retries, retry._supported_errors)


def _is_lost(backend: Any, exc: BaseException) -> bool:
    return bool(backend.exception_safe_to_retry(exc))


def _listening(method: Any) -> Any:
    """Wait until the results of a job that was sent can be listened for: the rest of its group is to be sent as well.

    Celery says that by an error of its own or the client's, and believes afterwards that it listens.
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
    """Let no slot be held for ever by a value without room: of a database, Celery takes every error for an outage."""
    return lambda backend, exc: not refusals.is_final(exc) and method(backend, exc)


def _whole(method: Any) -> Any:
    """Leave no half of a result on a full disk: nobody can read it, the next attempt included."""

    def put(backend: Any, key: Any, value: Any) -> None:
        try:
            method(backend, key, value)
        except OSError:
            with contextlib.suppress(OSError):
                backend.delete(key)
            raise

    return put


def _prepare(backend: Any, exc: Exception, refusal: refusals.Refusal | None) -> None:
    """Let the next attempt be made anew, and the main thread show that it is alive."""
    try:
        retries.retry_hook(backend)(exc)
        if refusal and refusal.word == "READONLY":
            # The name may have moved to another server, while old connections stay with this one.
            backend.client.connection_pool.disconnect(inuse_connections=False)
    except Exception:  # as Celery has it: the next attempt is worth more than what was to help it
        logger.exception("the next attempt to reach the result backend could not be prepared")


def _pause(backend: Any, attempts: int) -> None:
    base_ms, longest = backend.base_sleep_between_retries_ms, backend.max_sleep_between_retries_ms
    backend._sleep(get_exponential_backoff_interval(base_ms, min(attempts, 30), longest, True) / 1000)


def _say_refused(backend: Any, refusal: refusals.Refusal) -> None:
    with _lock:
        if (name := _name(backend)) in _refusing:
            return
        _refusing.add(name)
    logger.warning(
        "the result backend %s refuses what jobs leave there: %s; their results wait, and hold their slots. %s",
        *(name, refusal.word, refusal.remedy),
    )


def _say_taken(backend: Any) -> None:
    with _lock:
        if (name := _name(backend)) not in _refusing:
            return
        _refusing.discard(name)
    logger.info("the result backend %s takes results again", name)


def _name(backend: Any) -> str:
    """Return the URL of a backend without its password, or the name that stands for it."""
    return str(backend.as_uri() or backend.app.conf.result_backend)
