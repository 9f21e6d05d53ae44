"""The jobs that wait on the server for their time, as the workers see to them."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from kombu.utils.encoding import bytes_to_str

from celerykit.transports.redis import scripts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celerykit.transports.redis.keys import Keys

SHORTEST = 0.05
"""Seconds between two looks at jobs whose time has come."""
PAUSE = 0.25
"""Seconds until the next look, if jobs are due and those that were due before are still at the heads of queues."""


class DueJobs:
    """Moves jobs into their queues when their time has come, whoever consumes these."""

    def __init__(self, client: Any, keys: Keys):
        self.look_at = 0.0
        """When to look for such jobs without another reason."""
        self._due_at = 0.0
        """When the first one is due, as far as is known here; both on the clock of :func:`time.monotonic`."""
        self._client = client
        self._keys = keys

    @property
    def may_exist(self) -> bool:
        """Whether the time of a job that waits may have come."""
        return time.monotonic() >= self._due_at

    def expect(self, due: float) -> None:
        """Note that a job is put off.

        :param due: in seconds since the epoch.
        """
        self._due_at = min(self._due_at, time.monotonic() + due - time.time())
        self.look_at = min(self.look_at, self._due_at)

    def seconds_to_look(self, most: float) -> float:
        """Return the seconds until the next look, within reason."""
        return max(SHORTEST, min(most, self.look_at - time.monotonic()))

    def move(self) -> None:
        """Move what is due."""
        moved, following = scripts.DUE(self._client, [self._keys.waiting], ())
        now = time.monotonic()
        self._due_at = now + following / 1000 if following >= 0 else math.inf
        self.look_at = self._due_at if moved else max(self._due_at, now + PAUSE)

    def count(self, lists: Iterable[bytes]) -> int:
        """Return how many jobs wait for some lists."""
        if self._due_at == math.inf:
            return 0
        counted = set(self._client.zrange(self._keys.waiting, 0, -1)).intersection(lists)
        with self._client.pipeline(transaction=False) as pipe:
            for name in counted:
                pipe.zcard(self._keys.waiting_for(bytes_to_str(name)))
            return sum(pipe.execute())
