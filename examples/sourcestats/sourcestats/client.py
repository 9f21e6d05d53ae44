"""Submitting the jobs and waiting for their summary."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celery import chord, uuid
from celery.backends.base import DisabledBackend
from celery.backends.redis import RedisBackend
from celery.exceptions import OperationalError

from sourcestats.celery import app
from sourcestats.counting import Summary
from sourcestats.tasks import measure, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_EVERY = 0.2
"""Seconds between two looks at what has been done: each is two small reads, however many jobs there are."""


class NoSummaryError(Exception):
    """There is no summary, and the message says why."""


def wait_for_worker(patience: float) -> int:
    """Return how many workers answer, as soon as one does.

    :raises NoSummaryError: if none has within ``patience`` seconds.
    """
    if isinstance(app.backend, DisabledBackend):
        raise NoSummaryError("There is no result backend: set CELERY_RESULT_BACKEND")
    deadline = time.monotonic() + patience
    while True:
        try:
            subject = f"the result backend at {_backend()}"
            # Looked at first: without it, a submission ends half-way.
            app.AsyncResult(uuid()).ready()
            subject = f"the broker at {_broker()}"
            if answers := app.control.ping(timeout=1.0):
                return len(answers)
            problem = f"no worker answers at {_broker()}: is one running?"
        except _connection_errors() as exc:
            problem = f"{subject} cannot be used: {exc}"
        if time.monotonic() > deadline:
            raise NoSummaryError(f"After {patience:.0f} s {problem}")
        time.sleep(LOOK_EVERY)


def summarise_files(paths: list[str], show: Callable[[int], None], patience: float) -> Summary:
    """Have each of ``paths`` measured by a job, and return their summary.

    :param show: called now and then with the number of jobs that have ended.
    :raises NoSummaryError: if the summary fails, or if no job ends for ``patience`` seconds.
    """
    chord_id = uuid()
    # The first is what Celery raises when it gives up on a result backend.
    lost: tuple[type[Exception], ...] = (RuntimeError, *_connection_errors())
    try:
        _submit(paths, chord_id, show)
    except lost as exc:
        raise NoSummaryError(f"Broker or result backend were lost while jobs were submitted: {exc}") from exc
    return _wait(chord_id, show, patience)


def _submit(paths: list[str], chord_id: str, show: Callable[[int], None]) -> None:
    """Submit a job for each of ``paths`` and, as their chord's callback, the summary."""

    def jobs() -> Iterator[Any]:
        looked = time.monotonic()
        for path in paths:
            if time.monotonic() - looked > LOOK_EVERY:
                show(_count_done(chord_id))
                looked = time.monotonic()
            yield measure.s(path)

    # From a generator: Celery publishes each job as it comes, so the first ones are done before the last is submitted.
    # The chord's id becomes that of the jobs' group, by which they are counted, and that of the summary.
    #
    # The result is not kept: it holds a subscription at Redis for each job, and at the end of the interpreter each
    # of them would be given back with an error.
    chord(jobs(), summarise.s()).set(task_id=chord_id).apply_async()


def _wait(chord_id: str, show: Callable[[int], None], patience: float) -> Summary:
    result = app.AsyncResult(chord_id)
    done, progress = 0, time.monotonic()
    while not _is_ready(result):
        now_done = _count_done(chord_id)
        if now_done > done:
            done, progress = now_done, time.monotonic()
            show(done)
        if time.monotonic() - progress > patience:
            raise NoSummaryError(
                f"No job has ended for {patience:.0f} s; {done:,} have before that. "
                "What is queued stays queued: are the workers running?"
            )
        time.sleep(LOOK_EVERY)
    if not result.successful():
        raise NoSummaryError(f"The summary failed: {result.result}")
    return Summary(**result.get())


def _is_ready(result: Any) -> bool:
    try:
        return bool(result.ready())
    except _connection_errors():
        return False  # a backend that restarts comes back with its results


def _count_done(chord_id: str) -> int:
    """Return how many jobs have ended; 0 where the result backend does not count."""
    backend = app.backend
    if not isinstance(backend, RedisBackend):
        return 0
    # Celery collects the results of a chord's jobs in one sorted set. One read, where `GroupResult` takes one a job.
    key = backend.get_key_for_group(chord_id, ".j")
    try:
        return int(backend.client.zcount(key, "-inf", "+inf"))
    except _connection_errors():
        return 0


def _broker() -> str:
    """Return the broker's URL without its password."""
    return str(app.connection_for_write().as_uri())


def _backend() -> str:
    """Return the result backend's URL without its password."""
    return str(app.backend.as_uri())


def _connection_errors() -> tuple[type[Exception], ...]:
    """Return what Celery and the client libraries raise when broker or backend are away."""
    return (
        OperationalError,
        OSError,
        *app.connection_for_write().connection_errors,
        *getattr(app.backend, "connection_errors", ()),
    )
