"""The kinds of pool that a worker may have, by the names that Celery has for them."""

from __future__ import annotations

PREFORK = "prefork"
SOLO = "solo"
THREADS = "threads"
GREEN_POOLS = frozenset({"gevent", "eventlet"})

POOL_KINDS = (PREFORK, THREADS, "gevent", "eventlet", SOLO)
