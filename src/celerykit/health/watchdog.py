"""The watchdog of a process: it reports progress, and ends a stuck process."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time
from pathlib import Path

from celerykit.health import statefile
from celerykit.health.sd_notify import notify

GRACE = 10.0
"""Seconds by which systemd's watchdog acts later than :mod:`faulthandler`, so that the stacks are written first."""
LOOK = 1.0
"""Seconds between two checks of the main thread from another thread."""
FOR_EVER = 10 * 365 * 86400.0
"""Seconds of ten years: neither :mod:`faulthandler` nor systemd has a value for no limit."""
SHORT = 0.1
"""Seconds within which the timer of :mod:`faulthandler` is not set again, at the end and the start of short jobs."""


class Pulse:
    """Reports to the init system and the probes that the main thread makes progress.

    :meth:`beat` reports progress. :meth:`hold` announces a time without progress, such as a drain. :meth:`begin`
    announces a job in this process that may block the main thread. If no report comes in time, :mod:`faulthandler`
    writes all stacks to the log and ends the process with exit code 1; it needs neither the GIL nor a running loop.
    Each report also sets the time-out of systemd's watchdog, if that is on: a little longer than the announced time.

    Until the process is ready for the first time, a longer bound holds: an app and its handlers may take long.
    """

    def __init__(self, state_file: str, window: float, start: float = 0.0):
        """Begin without any progress.

        :param window: seconds without progress after which the process is stuck.
        :param start: the seconds instead of ``window`` until the process is first ready, if they are more.
        """
        self._state_file = state_file
        self._window = window
        self._start = max(start, window)
        self._held_until = 0.0
        self._jobs: dict[str, float] = {}
        self._beats = 0
        self.progress_at = time.monotonic()
        """The time of the main thread's last progress, in seconds of :func:`time.monotonic`."""
        self._alive_until = self.progress_at + self._start
        self._written_at = 0.0
        self._written_until = 0.0
        self._armed_at = 0.0
        self._armed_until = 0.0
        self._announced = self._stopped = False
        self._ready = False
        self._reason = "starting"
        self._concurrency = 0
        self._why = ""
        self._advised = False
        self._waiting = 0
        self._patience = 0
        # A process without a writable folder still works; only its probes fail.
        self._pid = os.getpid()

    @property
    def is_alive(self) -> bool:
        """Whether the process is live: its last report has not expired."""
        return time.monotonic() < self._alive_until

    @property
    def is_starting(self) -> bool:
        """Whether the process has never been ready, and has not stopped."""
        return not self._announced and not self._stopped

    @property
    def has_progressed(self) -> bool:
        """Whether the main thread has ever made progress."""
        return self._beats > 0

    def starting(self, reason: str) -> None:
        """Report that the process starts, with its current step."""
        self.progress_at, self._written_at = time.monotonic(), 0.0
        self._reason = f"starting: {reason}"
        self._tell(self.progress_at)
        notify(f"STATUS={self._reason}")

    def beat(self) -> None:
        """Record that the main thread made progress."""
        self._beats += 1
        now = self.progress_at = time.monotonic()
        if now - self._written_at >= 1.0:
            self._tell(now)

    def hold(self, seconds: float) -> None:
        """Allow the next ``seconds`` without progress, for a drain."""
        now = time.monotonic()
        self._held_until = now + seconds
        self._tell(now)

    def begin(self, job: str, seconds: float) -> None:
        """Allow a job to block the main thread for ``seconds`` at most; callable from any thread."""
        now = time.monotonic()
        self._jobs[job] = now + seconds
        self._tell(now)

    def end(self, job: str) -> None:
        """End the allowance of a job."""
        self._jobs.pop(job, None)
        self._tell(time.monotonic())

    def watch_beside_jobs(self) -> None:
        """Also watch the main thread from another thread, see :meth:`_watch`."""
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def ready(self, reason: str) -> None:
        """Report that the process does its work from now on."""
        self._turn(True, reason)

    def not_ready(self, reason: str) -> None:
        """Report that the process does not do its work for now, with the reason."""
        self._turn(False, reason)

    def sized(self, concurrency: int, why: str = "", *, advised: bool = False) -> None:
        """Set the concurrency and its reason, for the next report.

        :param advised: whether the recent jobs need a size that only a restart brings.
        """
        self._concurrency, self._why, self._advised = concurrency, why, advised

    def waits(self, jobs: int) -> None:
        """Set the number of jobs that wait on the broker for their ETA, countdown or retry, for the next report."""
        self._waiting = jobs

    def stop(self) -> None:
        """Remove the state file, and cancel the timer."""
        if os.getpid() != self._pid:
            return
        self._stopped = True
        faulthandler.cancel_dump_traceback_later()
        with contextlib.suppress(OSError):
            Path(self._state_file).unlink()

    def _turn(self, ready: bool, reason: str) -> None:
        if (ready, reason) == (self._ready, self._reason) or os.getpid() != self._pid:
            return
        self._ready, self._reason, self._written_at = ready, reason, 0.0
        first = ready and not self._announced
        self._announced |= ready
        self._tell(time.monotonic())
        # Last, so that a process that waits for READY=1 finds the state file up to date.
        notify(*(["READY=1"] if first else []), f"STATUS={reason}")

    def _tell(self, now: float) -> None:
        if os.getpid() != self._pid:
            return  # a forked child must not report for its parent
        jobs_until = max(list(self._jobs.values()), default=0.0)  # a copy in one step: other threads begin and end some
        window = self._window if self._announced else self._start
        alive_until = self._alive_until = max(now + window, self._held_until, jobs_until)
        self._arm(now, alive_until)
        # Do not write at the end and the start of each of many jobs a second.
        if now - self._written_at < 1.0 and alive_until < self._written_until + 1.0:
            return
        self._written_at, self._written_until = now, alive_until
        notify("WATCHDOG=1", *self._watchdog(alive_until - now))
        with contextlib.suppress(OSError):
            statefile.write(self._state_file, self._state(alive_until))

    def _watch(self) -> None:
        """End the process if its main thread is stuck while its other threads run.

        A job that holds the GIL blocks this thread, too, so its whole time counts as one check here.
        """
        beats, looks = self._beats, 0
        while looks * LOOK < self._window:
            time.sleep(LOOK)
            seen, beats = beats, self._beats
            is_due = self._announced and time.monotonic() > self._held_until
            looks = looks + 1 if seen == beats and is_due else 0
        faulthandler.dump_traceback_later(0.001, exit=True, file=sys.__stderr__ or 2)

    def _state(self, alive_until: float) -> statefile.State:
        values = (
            self._ready,
            self._reason,
            self._concurrency,
            self._why,
            self._advised,
            self._announced,
            self._waiting,
        )
        return statefile.State(self._pid, alive_until, *values)

    def _arm(self, now: float, until: float) -> None:
        """Set the timer of faulthandler. Each setting starts a thread, and so costs more than a short job."""
        if now - self._armed_at >= SHORT or until > self._armed_until + 1.0:
            self._armed_at, self._armed_until = now, until
            faulthandler.dump_traceback_later(until - now, exit=True, file=sys.__stderr__ or 2)

    def _watchdog(self, seconds: float) -> list[str]:
        """Return the assignment of a changed time-out for systemd's watchdog, none if it has not changed."""
        if not os.environ.get("WATCHDOG_USEC") or os.environ.get("WATCHDOG_PID", str(self._pid)) != str(self._pid):
            return []  # to send a time-out would turn the watchdog on
        patience = round(seconds + GRACE) * 1_000_000
        if patience == self._patience:
            return []
        self._patience = patience
        return [f"WATCHDOG_USEC={patience}"]
