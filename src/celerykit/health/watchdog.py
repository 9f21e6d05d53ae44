"""Signs of life of a process, and its end when they stay away."""

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
"""Seconds that systemd's watchdog leaves :mod:`faulthandler`, which writes the stacks, to be first."""
LOOK = 1.0
"""Seconds between two looks at the main thread from beside it."""
FOR_EVER = 10 * 365 * 86400.0
"""Seconds: ten years, as neither :mod:`faulthandler` nor systemd has a word for no end."""
SHORT = 0.1
"""Seconds within which the end of a job, and the next one's start, are no news to :mod:`faulthandler`."""


class Pulse:
    """Tells the init system and the probes that the main thread makes progress.

    Progress is said by :meth:`beat`. Where none can be said for a known time, :meth:`hold` says until when, for a
    drain, and :meth:`begin`, for a job that runs in this process and may hold up its main thread. If neither comes in
    time, :mod:`faulthandler`, which needs neither the GIL nor a turning loop, writes all stacks to the log and ends the
    process with exit code 1. Where systemd's watchdog is on, each sign of life also tells it how long to wait for the
    next: longer for a hold, and always a little longer than that.

    Until the process is ready for the first time it starts, for as long as an app and its handlers take: then another
    bound holds, which is long.
    """

    def __init__(self, state_file: str, window: float, start: float = 0.0):
        """Begin with no sign of life.

        :param window: seconds without progress after which the process is stuck.
        :param start: the same until it is ready for the first time, if that is longer.
        """
        self._state_file = state_file
        self._window = window
        self._start = max(start, window)
        self._held_until = 0.0
        self._jobs: dict[str, float] = {}
        self._beats = 0
        self.progress_at = time.monotonic()
        """When the main thread made progress, on the clock of :func:`time.monotonic`."""
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
        # A process that may write nowhere still works; only its probes cannot answer.
        self._pid = os.getpid()

    @property
    def is_alive(self) -> bool:
        """Whether the last sign of life still holds."""
        return time.monotonic() < self._alive_until

    @property
    def is_starting(self) -> bool:
        """Whether it has never been ready, and may be yet."""
        return not self._announced and not self._stopped

    @property
    def has_progressed(self) -> bool:
        """Whether there was any sign of life."""
        return self._beats > 0

    def starting(self, reason: str) -> None:
        """Say that the process starts, and what it does just now."""
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
        """Let the next ``seconds`` pass without progress, as a drain does."""
        now = time.monotonic()
        self._held_until = now + seconds
        self._tell(now)

    def begin(self, job: str, seconds: float) -> None:
        """Let a job of this process hold up everything else in it, for so many seconds at most; from any thread."""
        now = time.monotonic()
        self._jobs[job] = now + seconds
        self._tell(now)

    def end(self, job: str) -> None:
        """Note that a job has ended."""
        self._jobs.pop(job, None)
        self._tell(time.monotonic())

    def watch_beside_jobs(self) -> None:
        """Watch the main thread while jobs run in others, too: see :meth:`_watch`."""
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def ready(self, reason: str) -> None:
        """Say that the process does its work from now on."""
        self._turn(True, reason)

    def not_ready(self, reason: str) -> None:
        """Say that, and why, the process does not do its work for the time being."""
        self._turn(False, reason)

    def sized(self, concurrency: int, why: str = "", *, advised: bool = False) -> None:
        """Say how many jobs run at once, and why, with the next sign of life.

        :param advised: whether that is what to do at the next start, as it cannot be done now.
        """
        self._concurrency, self._why, self._advised = concurrency, why, advised

    def waits(self, jobs: int) -> None:
        """Say how many jobs of this worker's queues wait for their time on the broker, with the next sign of life."""
        self._waiting = jobs

    def stop(self) -> None:
        """Leave no file and no timer behind."""
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
        # Last, so that whoever waits for it finds the state file to say so, too.
        notify(*(["READY=1"] if first else []), f"STATUS={reason}")

    def _tell(self, now: float) -> None:
        if os.getpid() != self._pid:
            return  # a forked pool child speaks for nobody
        jobs_until = max(list(self._jobs.values()), default=0.0)  # a copy in one step: other threads begin and end some
        window = self._window if self._announced else self._start
        alive_until = self._alive_until = max(now + window, self._held_until, jobs_until)
        self._arm(now, alive_until)
        # The end of one job of many a second, and the next one's start, are news to nobody outside.
        if now - self._written_at < 1.0 and alive_until < self._written_until + 1.0:
            return
        self._written_at, self._written_until = now, alive_until
        notify("WATCHDOG=1", *self._watchdog(alive_until - now))
        with contextlib.suppress(OSError):
            statefile.write(self._state_file, self._state(alive_until))

    def _watch(self) -> None:
        """End a process whose main thread is stuck though its other threads run.

        A job that holds the interpreter's lock holds this thread up, too: that is one look here, however long it takes.
        """
        beats, looks = self._beats, 0
        while looks * LOOK < self._window:
            time.sleep(LOOK)
            seen, beats = beats, self._beats
            is_due = self._announced and time.monotonic() > self._held_until
            looks = looks + 1 if seen == beats and is_due else 0
        faulthandler.dump_traceback_later(0.001, exit=True, file=sys.__stderr__ or 2)

    def _state(self, alive_until: float) -> statefile.State:
        said = (self._ready, self._reason, self._concurrency, self._why, self._advised, self._announced, self._waiting)
        return statefile.State(self._pid, alive_until, *said)

    def _arm(self, now: float, until: float) -> None:
        """Have faulthandler end the process then. That is a thread each time, which costs more than a short job."""
        if now - self._armed_at >= SHORT or until > self._armed_until + 1.0:
            self._armed_at, self._armed_until = now, until
            faulthandler.dump_traceback_later(until - now, exit=True, file=sys.__stderr__ or 2)

    def _watchdog(self, seconds: float) -> list[str]:
        """Return what systemd is to be told of the time until the next sign of life, if that has changed."""
        if not os.environ.get("WATCHDOG_USEC") or os.environ.get("WATCHDOG_PID", str(self._pid)) != str(self._pid):
            return []  # a time-out would turn the watchdog on
        patience = round(seconds + GRACE) * 1_000_000
        if patience == self._patience:
            return []
        self._patience = patience
        return [f"WATCHDOG_USEC={patience}"]
