"""How full the server's memory is: one that is full refuses every job."""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import ResponseError

logger = logging.getLogger(__name__)

MUCH = 0.8
"""The part of ``maxmemory`` from which on somebody should look."""
LESS = 0.7
"""Below this part, it is worth saying again."""
MIB = 1 << 20


class Memory:
    """What the server uses of what it may."""

    def __init__(self, client: Any):
        """:param client: a :class:`redis.Redis`; a user who may not run ``INFO`` is never told anything."""
        self._client = client
        self._is_asked = True
        self._was_much = False

    def look(self) -> None:
        """Warn, once, when it is nearly used up."""
        used, most = self._used()
        if most and used > MUCH * most and not self._was_much:
            self._was_much = True
            logger.warning(
                "Redis has used %d %% of its maxmemory (%d of %d MiB), and refuses jobs when it is full: raise "
                "maxmemory, have results expire sooner, or see why jobs wait",
                100 * used / most,
                used / MIB,
                most / MIB,
            )
        elif used < LESS * most:
            self._was_much = False

    def _used(self) -> tuple[int, int]:
        """Return the bytes that are used, and those that may be; 0 where there is no limit, or nobody says."""
        if not self._is_asked:
            return 0, 0
        try:
            told = self._client.info("memory")
        except ResponseError:  # not allowed, or not known to what only speaks like Redis
            self._is_asked = False
            return 0, 0
        return int(told.get("used_memory", 0)), int(told.get("maxmemory", 0))
