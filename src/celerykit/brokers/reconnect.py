"""Reconnecting to a broker or a result backend: without an end, with short pauses, and with reports of progress."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

from kombu.connection import Connection

from celerykit import releases
from celerykit.compat import retries

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_PAUSE = 5.0
"""The most seconds between two attempts. Kombu backs off to 30 s, and so prolongs an outage by that."""

FIRST_PAUSE = 0.5
"""Seconds before the third attempt, if the second has failed as soon as it was connected."""


class Rest:
    """The pause before a worker reconnects; it grows while connections fail right after they open."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self._now = now
        self._until = -math.inf
        self._pause = 0.0

    def seconds(self) -> float:
        """Return the seconds to wait after an error that comes now, 0 after the first error in a while."""
        now = self._now()
        soon = now - self._until < 2 * LONGEST_PAUSE
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE) if soon else 0.0
        self._until = now + self._pause
        return self._pause


def watch(app: Any, progress: Callable[[], None]) -> None:
    """Make each new connection of ``app`` call ``progress`` while it waits for the broker.

    Each attempt is progress, and so is each second between two: jobs, events and remote control have connections of
    their own, and a worker is not stuck because one of them waits.
    """
    app.amqp.Connection = _watched(app.amqp.Connection, progress)


def watch_results(app: Any, progress: Callable[[], None]) -> None:
    """Let the main thread call ``progress`` at each attempt to reach the result backend of ``app``.

    A prefork worker's main thread stores some results itself: of jobs past their time limit, and of dead-lettered jobs.
    A wait in another thread is no progress of the main thread.
    """
    backend = app.backend
    prepare = retries.retry_hook(backend)

    def on_backend_retryable_error(exc: Exception) -> None:
        if threading.current_thread() is threading.main_thread():
            progress()
        prepare(exc)

    backend.on_backend_retryable_error = on_backend_retryable_error
    if releases.lacks("retry hook"):
        # This Celery has no hook for an attempt; the pause after it is the only sign.
        def _sleep(seconds: float) -> None:
            on_backend_retryable_error(TimeoutError())
            type(backend)._sleep(backend, seconds)

        backend._sleep = _sleep


def _watched(base: Any, progress: Callable[[], None]) -> type[Connection]:
    class WatchedConnection(base):  # type: ignore[misc]
        def _ensure_connection(
            self,
            errback: Any = None,
            max_retries: Any = None,
            interval_start: Any = 2,
            interval_step: Any = 2,
            interval_max: Any = LONGEST_PAUSE,
            callback: Any = None,
            reraise_as_library_errors: Any = True,
            timeout: Any = None,
        ) -> Any:
            def on_pause() -> None:
                progress()
                if callback is not None:
                    callback()

            pause = min(interval_max, LONGEST_PAUSE)
            return super()._ensure_connection(
                errback,
                max_retries,
                interval_start,
                interval_step,
                pause,
                on_pause,
                reraise_as_library_errors,
                timeout,
            )

    return WatchedConnection
