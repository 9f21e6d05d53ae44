"""Sending what is due: an entry of the schedule is advanced once its job has been sent, not before.

Celery advances it first and passes over an error, so that whatever is due while the broker is away is skipped. Here
it stays due, and is sent once when the broker takes it.
"""

from __future__ import annotations

import heapq
import logging
from typing import TYPE_CHECKING, Any

from celery import beat
from kombu.exceptions import OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 2.0
"""Seconds between two attempts to send one entry."""
SENDING = "Scheduler: Sending due task %s (%s)"
REFUSED = "Message Error: %s was refused: %s. It stays due, and beat sends it when the broker takes it"
STILL = "%s is still refused: %s. Beat tries again every %s s"


class Ticks:
    """Puts itself between a scheduler, of whatever class, and what that does at each tick.

    Celery's own ``tick``, which most schedulers have, reserves an entry and then applies it; others, RedBeat's among
    them, call ``apply_async``, which reserves by itself. So each of these is replaced on the instance.
    """

    def __init__(self, scheduler: Any, progress: Callable[[], None] = lambda: None):
        """:param progress: is called before each attempt to send."""
        self._scheduler, self._progress = scheduler, progress
        self._own_apply_entry = type(scheduler).apply_entry is not beat.Scheduler.apply_entry
        self._apply_entry, scheduler.apply_entry = scheduler.apply_entry, self.apply_entry
        self._apply_async, scheduler.apply_async = scheduler.apply_async, self.apply_async
        self._reserve, scheduler.reserve = scheduler.reserve, self.reserve
        self._sync, scheduler._do_sync = scheduler._do_sync, self.sync
        self._tick, scheduler.tick = scheduler.tick, self.tick
        self._refused: list[Any] = []
        self._pauses: dict[str, float] = {}
        self._ahead: set[str] = set()
        self._sent: Any = None
        self._result: Any = None
        self._sends = self._wants_sync = False

    @property
    def waiting(self) -> int:
        """How many entries are due and were refused."""
        return len(self._pauses)

    def tick(self, *args: Any, **options: Any) -> float | None:
        """Send what is due, and return the seconds until the next tick."""
        self._refused.clear()
        interval: float | None = self._tick(*args, **options)
        if not self._refused:
            return interval
        for entry in self._refused:
            self._put_back(entry)
        soonest = min(map(self._pause, self._refused))
        return soonest if interval is None else min(interval, soonest)

    def reserve(self, entry: Any) -> Any:
        """Send an entry that Celery's tick is about to apply, and return it as advanced, or as it was if refused."""
        self._sent = None
        self._send(entry)
        self._sent = entry
        return entry if any(entry is refused for refused in self._refused) else self._advance(entry)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Apply an entry, unless it has just been."""
        if self._sent is entry:
            self._sent = None
        else:
            self._apply_entry(entry, producer=producer)

    def apply_async(self, entry: Any, producer: Any = None, **options: Any) -> Any:
        """Send an entry, and advance it then, unless ``advance`` is false.

        :raises celery.beat.SchedulingError: if it was not sent.
        """
        if self._sent is entry:
            self._sent = None
            return self._result
        advance = options.pop("advance", True)
        if not (advance and entry.name in self._ahead):
            self._result = self._try(entry, producer, advance=advance, **options)
        if advance:
            self._advance(entry)
        return self._result

    def sync(self) -> None:
        """Write the schedule down, once an entry that is being sent has been advanced."""
        if self._sends:
            self._wants_sync = True
        else:
            self._sync()

    def _try(self, entry: Any, producer: Any, *, advance: bool, **options: Any) -> Any:
        self._progress()
        self._sends = True
        try:
            result = self._apply_async(entry, producer=producer, advance=False, **options)
        except Exception as exc:
            if self._is_refusal(exc):
                self._pauses[entry.name] = LONGEST_PAUSE if entry.name in self._pauses else SHORTEST_PAUSE
                self._refused.append(entry)
            else:  # what cannot be sent at all would be due for ever
                self._sends = False
                self._give_up(entry, advance=advance)
            raise
        finally:
            self._sends = False
        self._pauses.pop(entry.name, None)
        return result

    def _give_up(self, entry: Any, *, advance: bool) -> None:
        self._pauses.pop(entry.name, None)
        if advance:
            self._advance(entry)

    def _advance(self, entry: Any) -> Any:
        """Note that an entry was sent. Where that fails, as in Redis, it is not sent again, but noted later."""
        self._ahead.add(entry.name)
        try:
            advanced = self._reserve(entry)
        except Exception:
            self._refused.append(entry)
            raise
        self._ahead.discard(entry.name)
        if self._wants_sync:
            self._wants_sync = False
            self._sync()
        return advanced

    def _send(self, entry: Any) -> None:
        """Apply an entry as Celery does, but say so when it has been sent, and have one traceback of an outage."""
        producer = self._scheduler.producer
        if self._own_apply_entry:
            self._apply_entry(entry, producer=producer)
            return
        before = self._pauses.get(entry.name)
        try:
            self._scheduler.apply_async(entry, producer=producer, advance=False)
        except Exception as exc:
            self._say(entry, exc, before)
        else:
            logger.info(SENDING, entry.name, entry.task)

    def _say(self, entry: Any, exc: Exception, before: float | None) -> None:
        pause = self._pauses.get(entry.name)
        if pause is None:
            logger.error("Message Error: %s", exc, exc_info=exc)
        elif before is None:
            logger.error(REFUSED, entry.name, exc, exc_info=exc)
        elif before < pause:
            logger.warning(STILL, entry.name, exc, pause)

    def _put_back(self, entry: Any) -> None:
        """Let a refused entry come up again soon, and others before it."""
        scheduler = self._scheduler
        heap = getattr(scheduler, "_heap", None) or []
        for index, event in enumerate(heap):
            if event[2] is entry:
                heap[index] = event._replace(time=scheduler._when(entry, self._pause(entry)))
        heapq.heapify(heap)

    def _pause(self, entry: Any) -> float:
        return self._pauses.get(entry.name, SHORTEST_PAUSE)

    def _is_refusal(self, exc: BaseException) -> bool:
        """Say whether the broker or the result backend refused, or is away; the job itself is all right then."""
        return any(isinstance(cause, refusals(self._scheduler.app)) for cause in _causes(exc))


def refusals(app: Any) -> tuple[type[BaseException], ...]:
    """Return what the clients of an app's broker and result backend raise when those are away or refuse."""
    connection = app.connection_for_write()
    kinds = {OperationalError, *connection.connection_errors, *connection.channel_errors}
    kinds.update(connection.recoverable_connection_errors)  # a job that RabbitMQ would not confirm is among these
    kinds.update(getattr(app.backend, "connection_errors", None) or ())
    return tuple(kinds - {KeyError})  # Kombu's transport for Redis has it there, for reasons of its own


def _causes(exc: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = exc
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
