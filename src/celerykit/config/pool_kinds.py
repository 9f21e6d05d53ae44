"""The pool kinds that a worker may have, by Celery's names."""

from __future__ import annotations

PREFORK = "prefork"
SOLO = "solo"
THREADS = "threads"
GREEN_POOLS = frozenset({"gevent", "eventlet"})

POOL_KINDS = (PREFORK, THREADS, "gevent", "eventlet", SOLO)
