"""The start of a worker or beat: it may take its time, until a bound of its own, and is told of meanwhile."""

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
"""Seconds that systemd is asked for each time: an import may hold Python's lock for as long."""
AWAY = 30.0
"""Seconds for which a sign of life, as each attempt to reach a broker is one, says that it is waited for."""
NEAR = 0.9
"""The part of the bound after which the end is near."""

_begun: dict[str, Pulse] = {}


def begin(process: str, pool: str, own: settings.Settings) -> Pulse:
    """Begin to watch over the start of this process, before its app is imported, and return its pulse."""
    pulse = _begun[process] = _made(process, pool, own)
    pulse.starting("importing the app")
    _ask_for_time()
    main = (_original("_thread", "get_ident") or _thread.get_ident)()
    _beside(lambda: _tell_of(pulse, own, main))
    return pulse


def pulse_of(process: str, pool: str, own: settings.Settings) -> Pulse:
    """Return the pulse of this process, a new one if it was started without the kit's command."""
    return _begun.get(process) or _made(process, pool, own)


def _made(process: str, pool: str, own: settings.Settings) -> Pulse:
    return Pulse(statefile.path(own.state_dir, process, pool), own.stuck_after, own.start_within)


def _tell_of(pulse: Pulse, own: settings.Settings, main: Any) -> None:
    """Say that a start takes long, ever more rarely and once more when it nears its end, and ask systemd for time.

    While a broker is away, systemd is not asked: whoever starts the unit is told so after its time-out.
    """
    sleep = _original("time", "sleep") or time.sleep
    words = reminders(own.stuck_after, own.start_within)
    seen, asked_at = pulse.progress_at, time.monotonic()
    while True:
        sleep(LOOK)
        if not pulse.is_starting:
            return
        now = time.monotonic()
        if pulse.progress_at != seen:
            seen, words = pulse.progress_at, reminders(own.stuck_after, own.start_within)
        if now - asked_at >= PACE and not (pulse.has_progressed and now - seen < AWAY):
            asked_at = now
            _ask_for_time()
        if words and now - seen >= words[0]:
            words = [each for each in words if each > now - seen]
            say(reminder(now - seen, own.start_within, main))


def reminders(first: float, bound: float) -> list[float]:
    """Return after how many seconds to say that a start takes long."""
    doubled = [first * 2**power for power in range(20)]
    return sorted({*(each for each in doubled if each < NEAR * bound), NEAR * bound})


def reminder(seconds: float, bound: float, main: Any) -> str:
    """Return what to say of a start that takes so many seconds, and where the thread ``main`` is."""
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
    """Run it beside the main thread, even one that no greenlet can interrupt."""
    (_original("_thread", "start_new_thread") or _thread.start_new_thread)(run, ())


def _original(module: str, name: str) -> Callable[..., Any] | None:
    """Return what gevent has replaced, if it has."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original(module, name) if monkey else None
