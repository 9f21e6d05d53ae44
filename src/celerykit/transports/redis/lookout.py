"""Where a channel looks for jobs next."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SELDOM = 20.0
"""Seconds between two looks at all queues, where some are known to have changed."""


class Changed:
    """Which queues may have jobs: those that Redis has rung for since it said that all were empty.

    It goes on watching the others, whoever is at the door, so that they need not be named in each request.
    """

    def __init__(self) -> None:
        self._queues: set[str] | None = None

    @property
    def is_some(self) -> bool:
        """Whether some queues, and not all, may have jobs."""
        return bool(self._queues)

    def reset(self) -> None:
        """Know nothing: any queue may have jobs."""
        self._queues = None

    def add(self, queues: Iterable[str] | None) -> None:
        """Note that queues may have jobs; None if any may."""
        if queues is None or self._queues is None:
            self._queues = None
        else:
            self._queues.update(queues)

    def watch(self, queues: Sequence[str], *, all_of_them: bool) -> None:
        """Note that Redis is being asked to watch queues, which were empty.

        :param all_of_them: whether there is no other.
        """
        if all_of_them:
            self._queues = set()
        elif self._queues is not None:
            self._queues.difference_update(queues)

    def among(self, queues: Sequence[str]) -> Sequence[str]:
        """Return those that may have jobs, in their order."""
        return queues if self._queues is None else [queue for queue in queues if queue in self._queues]


class Lookout:
    """Whether to look for jobs without being told of one, and into which queues."""

    def __init__(self) -> None:
        self.changed = Changed()
        self.is_due = True
        """Whether there is a reason to look."""
        self.is_everywhere = True
        """Whether the next look is into all queues."""
        self._rung_at = 0.0

    def ring(self) -> None:
        """Have all queues looked into at the next turn; from any thread.

        Those of a busy worker that have changed will do, but for every now and then: it has not come to them yet.
        """
        now = time.monotonic()
        if not self.changed.is_some or now - self._rung_at > SELDOM:
            self._rung_at, self.is_everywhere = now, True
        self.is_due = True

    def forget(self) -> None:
        """Know nothing more: whatever Redis has rung for may have been missed."""
        self.is_due = self.is_everywhere = True

    def choose(self, queues: Sequence[str], *, moves: bool) -> Sequence[str]:
        """Return those of all queues that are to be looked into now.

        :param moves: whether this very request moves jobs into queues: Redis does not ring for these.
        """
        self.is_due = False
        if self.is_everywhere or moves:
            self.is_everywhere = False
            self.changed.reset()
        return self.changed.among(queues)
