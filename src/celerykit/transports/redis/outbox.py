"""What a worker has to tell Redis of its jobs: it travels with the next request."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from celerykit.transports.redis.reservation import News, PutOff

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

LATE = (
    "%d jobs that ended here were not this worker's in Redis any more: others may have been given them, and then those "
    "that ran here run twice"
)
UNSURE = (
    "%d jobs that ended here are not this worker's in Redis any more: it had heard of their end before a connection "
    "broke, or others have been given them"
)


class Outbox:
    """Takes from any thread; whatever was on its way when a connection broke is told once more."""

    def __init__(self) -> None:
        self.settled: deque[str] = deque()
        """Jobs that are done with."""
        self.put_off: deque[PutOff] = deque()
        """Jobs that are to wait on the server."""
        self.late = 0
        """Acknowledgements that came after the job was given to somebody else."""
        self._maybe_settled: set[str] = set()

    @property
    def has_news(self) -> bool:
        """Whether there is something that Redis does not know yet."""
        return bool(self.settled or self.put_off)

    @property
    def jobs(self) -> set[str]:
        """The jobs that something is to be told of."""
        return set(self.settled) | {late.job for late in tuple(self.put_off)}

    def take(self) -> News:
        """Return what Redis does not know yet; give it back by :meth:`take_back` if it never heard."""
        return News(_taken(self.settled, 500), _taken(self.put_off, 250))

    def take_back(self, news: News) -> None:
        """Take back what Redis may not have heard, or may have done without this worker hearing of it."""
        self._maybe_settled.update(news.settled)
        self.settled.extend(news.settled)
        self.put_off.extend(news.put_off)

    def note_late(self, number: int, news: News) -> None:
        """Note acknowledgements that were not Redis's to take any more.

        :param news: by which Redis was told of them.
        """
        doubtful = self._maybe_settled.intersection(news.settled) if self._maybe_settled else set()
        self._maybe_settled -= doubtful
        if number > len(doubtful):
            self.late += number - len(doubtful)
            logger.warning(LATE, number - len(doubtful))
        if number and doubtful:
            logger.info(UNSURE, min(number, len(doubtful)))


def _taken(waiting: deque[Any], most: int) -> list[Any]:
    """Take so many off a queue that other threads add to."""
    taken: list[Any] = []
    try:
        while len(taken) < most:
            taken.append(waiting.popleft())
    except IndexError:
        pass
    return taken
