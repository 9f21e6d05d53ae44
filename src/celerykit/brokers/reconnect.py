"""Waiting for a broker or a result backend: patient, never long between two attempts, and with signs of life."""

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
"""Seconds between two attempts at most. Kombu backs off to 30 s, which an outage then costs once more."""

FIRST_PAUSE = 0.5
"""Seconds before the third attempt, if the second has failed as soon as it was connected."""


class Rest:
    """The pause before a worker connects anew, which grows while it is refused as soon as it has connected."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self._now = now
        self._until = -math.inf
        self._pause = 0.0

    def seconds(self) -> float:
        """Return the seconds to wait after an error that has come now: none after the first in a while."""
        now = self._now()
        soon = now - self._until < 2 * LONGEST_PAUSE
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE) if soon else 0.0
        self._until = now + self._pause
        return self._pause


def watch(app: Any, progress: Callable[[], None]) -> None:
    """Let every connection that ``app`` makes from now on call ``progress`` while it waits for the broker.

    Each attempt is progress, and so is each second between two: jobs, events and remote control have connections of
    their own, and a worker is not stuck because one of them waits.
    """
    app.amqp.Connection = _watched(app.amqp.Connection, progress)


def watch_results(app: Any, progress: Callable[[], None]) -> None:
    """Let the main thread call ``progress`` at each attempt to reach the result backend of ``app``.

    There a prefork worker stores what it has to say of jobs itself: that they took too long, or have been given up.
    What other threads wait for says nothing of the main one.
    """
    backend = app.backend
    prepare = retries.retry_hook(backend)

    def on_backend_retryable_error(exc: Exception) -> None:
        if threading.current_thread() is threading.main_thread():
            progress()
        prepare(exc)

    backend.on_backend_retryable_error = on_backend_retryable_error
    if releases.lacks("retry hook"):
        # Celery's own attempts tell of nothing but the pause between two.
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
