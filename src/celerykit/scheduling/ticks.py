"""Sending of due entries: beat advances an entry of the schedule once its job has been sent, not before.

Celery advances an entry first and ignores an error, so it skips jobs that are due while the broker is away. Here they
stay due, and beat sends each of them once when the broker accepts it.
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
    """Wraps the methods that a scheduler of any class calls at each tick.

    Most schedulers have Celery's own ``tick``. It reserves an entry and then applies it. Others, RedBeat's among
    them, call ``apply_async``, and that reserves the entry itself. So each method is replaced on the instance.
    """

    def __init__(self, scheduler: Any, progress: Callable[[], None] = lambda: None):
        """:param progress: called before each attempt to send."""
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
        """The number of due entries that were refused."""
        return len(self._pauses)

    def tick(self, *args: Any, **options: Any) -> float | None:
        """Send due entries, and return the seconds until the next tick."""
        self._refused.clear()
        interval: float | None = self._tick(*args, **options)
        if not self._refused:
            return interval
        for entry in self._refused:
            self._put_back(entry)
        soonest = min(map(self._pause, self._refused))
        return soonest if interval is None else min(interval, soonest)

    def reserve(self, entry: Any) -> Any:
        """Send an entry that Celery's tick is about to apply; return it advanced, or unchanged if it was refused."""
        self._sent = None
        self._send(entry)
        self._sent = entry
        return entry if any(entry is refused for refused in self._refused) else self._advance(entry)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Apply an entry, unless :meth:`reserve` has just sent it."""
        if self._sent is entry:
            self._sent = None
        else:
            self._apply_entry(entry, producer=producer)

    def apply_async(self, entry: Any, producer: Any = None, **options: Any) -> Any:
        """Send an entry, then advance it, unless ``advance`` is false.

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
        """Write the schedule; while an entry is being sent, only once it has been advanced."""
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
            else:  # an entry with an error of its own would be due for ever
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
        """Advance a sent entry. If that fails, as in Redis, try again later, without sending the entry again."""
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
        """Apply an entry as Celery does, but log it after the send, and log one traceback for an outage."""
        producer = self._scheduler.producer
        if self._own_apply_entry:
            self._apply_entry(entry, producer=producer)
            return
        before = self._pauses.get(entry.name)
        try:
            self._scheduler.apply_async(entry, producer=producer, advance=False)
        except Exception as exc:
            self._log(entry, exc, before)
        else:
            logger.info(SENDING, entry.name, entry.task)

    def _log(self, entry: Any, exc: Exception, before: float | None) -> None:
        pause = self._pauses.get(entry.name)
        if pause is None:
            logger.error("Message Error: %s", exc, exc_info=exc)
        elif before is None:
            logger.error(REFUSED, entry.name, exc, exc_info=exc)
        elif before < pause:
            logger.warning(STILL, entry.name, exc, pause)

    def _put_back(self, entry: Any) -> None:
        """Schedule a refused entry again soon, after other due ones."""
        scheduler = self._scheduler
        heap = getattr(scheduler, "_heap", None) or []
        for index, event in enumerate(heap):
            if event[2] is entry:
                heap[index] = event._replace(time=scheduler._when(entry, self._pause(entry)))
        heapq.heapify(heap)

    def _pause(self, entry: Any) -> float:
        return self._pauses.get(entry.name, SHORTEST_PAUSE)

    def _is_refusal(self, exc: BaseException) -> bool:
        """Say whether the broker or the result backend refuses or is away; the job itself has no error then."""
        return any(isinstance(cause, refusals(self._scheduler.app)) for cause in _causes(exc))


def refusals(app: Any) -> tuple[type[BaseException], ...]:
    """Return the errors of an app's broker and result backend for outages and refusals."""
    connection = app.connection_for_write()
    kinds = {OperationalError, *connection.connection_errors, *connection.channel_errors}
    kinds.update(connection.recoverable_connection_errors)  # with the error of a job without confirm on RabbitMQ
    kinds.update(getattr(app.backend, "connection_errors", None) or ())
    return tuple(kinds - {KeyError})  # Kombu's transport for Redis lists it, but it is no outage


def _causes(exc: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = exc
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
