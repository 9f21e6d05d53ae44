"""Jobs on their way into a prefork child, at the moment when Celery forgets those that no child has accepted.

It forgets them when the worker stops, and when its connection ends: the broker delivers them again. A child that has
been given one runs it all the same, and so it would run twice.
"""

from __future__ import annotations

import inspect
import select
import time
from typing import Any

PATIENCE = 5.0
"""Seconds that children may take to say what they have begun; a child that has a core needs some milliseconds."""


def conclude(pool: Any, hub: Any) -> None:
    """Have every job that a child has been given accepted, as far as its child answers in time.

    :param pool: Celery's prefork pool, the one for an event loop.
    :param hub: that loop.
    """
    give_up = time.monotonic() + PATIENCE
    while (jobs := _under_way(pool)) and time.monotonic() < give_up:
        for job in jobs:
            _write_the_rest(pool, job)
        for source in select.select({job._write_to.outqR_fd for job in jobs}, (), (), 0.1)[0]:
            _read(pool, hub, source)


def _under_way(pool: Any) -> list[Any]:
    begun = [job for job in pool._cache.values() if job._write_to is not None and not job._accepted]
    return [job for job in begun if job._write_to._is_alive()]


def _write_the_rest(pool: Any, job: Any) -> None:
    """Complete what a child has a part of, and waits for."""
    writer = job._writer()
    if writer in pool._active_writers:
        pool._flush_writer(job._write_to, writer)


def _read(pool: Any, hub: Any, source: int) -> None:
    """Do what the event loop does when a child says something, of which a part may have been read already."""
    reader, arguments = hub.readers.get(source, (pool.handle_result_event, (source,)))
    if not inspect.isgenerator(reader):
        reader(*arguments)
        return
    try:
        next(reader)
    except (StopIteration, OSError, EOFError):
        return
