"""The start of a worker or beat: it has a time limit of its own, and the log reports a long start."""

from __future__ import annotations

import _thread
import sys
import time
from typing import TYPE_CHECKING, Any

from celerykit.config import settings
from celerykit.health import statefile
from celerykit.health.sd_notify import notify
from celerykit.health.voice import say
from celerykit.health.watchdog import LOOK, Pulse

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = settings.variable("start_within")
PACE = 5.0
"""Seconds between two requests for more time."""
SLICE = 60.0
"""Seconds of each request to systemd for more time: an import may hold Python's lock for as long."""
AWAY = 30.0
"""Seconds after progress for which the start counts as waiting for a broker: each attempt to connect is progress."""
NEAR = 0.9
"""The part of the time limit at which the last reminder is logged."""

_begun: dict[str, Pulse] = {}


def begin(process: str, pool: str, config: settings.Settings) -> Pulse:
    """Start the watchdog of this process, before the import of its app, and return its pulse."""
    pulse = _begun[process] = _make(process, pool, config)
    pulse.starting("importing the app")
    _ask_for_time()
    main = (_original("_thread", "get_ident") or _thread.get_ident)()
    _beside(lambda: _report(pulse, config, main))
    return pulse


def pulse_of(process: str, pool: str, config: settings.Settings) -> Pulse:
    """Return the pulse of this process, a new one if the kit's command has not started it."""
    return _begun.get(process) or _make(process, pool, config)


def _make(process: str, pool: str, config: settings.Settings) -> Pulse:
    return Pulse(statefile.path(config.state_dir, process, pool), config.stuck_after, config.start_within)


def _report(pulse: Pulse, config: settings.Settings, main: Any) -> None:
    """Log that a start takes long, at growing intervals and once near the time limit, and ask systemd for more time.

    While a broker is away, do not ask systemd: its time-out then reports the outage to the operator.
    """
    sleep = _original("time", "sleep") or time.sleep
    words = reminders(config.stuck_after, config.start_within)
    seen, asked_at = pulse.progress_at, time.monotonic()
    while True:
        sleep(LOOK)
        if not pulse.is_starting:
            return
        now = time.monotonic()
        if pulse.progress_at != seen:
            seen, words = pulse.progress_at, reminders(config.stuck_after, config.start_within)
        if now - asked_at >= PACE and not (pulse.has_progressed and now - seen < AWAY):
            asked_at = now
            _ask_for_time()
        if words and now - seen >= words[0]:
            words = [each for each in words if each > now - seen]
            say(reminder(now - seen, config.start_within, main))


def reminders(first: float, bound: float) -> list[float]:
    """Return the seconds after which to log that a start takes long."""
    doubled = [first * 2**power for power in range(20)]
    return sorted({*(each for each in doubled if each < NEAR * bound), NEAR * bound})


def reminder(seconds: float, bound: float, main: Any) -> str:
    """Return the log line of a start that takes so many seconds, with the line of code of the thread ``main``."""
    return (
        f"still starting after {seconds:.0f} s, {_place(main)}: it is ended as stuck after {bound:g} s ({VARIABLE}); "
        "raise that if the app needs longer"
    )


def _place(thread: Any) -> str:
    frame = sys._current_frames().get(thread)
    return f"at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}" if frame else "nowhere"


def _ask_for_time() -> None:
    notify(f"EXTEND_TIMEOUT_USEC={int(SLICE * 1_000_000)}")


def _beside(run: Callable[[], None]) -> None:
    """Run a function in a real thread, even under gevent."""
    (_original("_thread", "start_new_thread") or _thread.start_new_thread)(run, ())


def _original(module: str, name: str) -> Callable[..., Any] | None:
    """Return the function that gevent has replaced, None without gevent."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original(module, name) if monkey else None
