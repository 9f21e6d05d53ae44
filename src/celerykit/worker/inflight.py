"""Jobs on their way into a prefork child, at the moment when Celery forgets those that no child has accepted.

It forgets them when the worker stops, and when its connection ends: the broker delivers them again. A child that has
been given one runs it all the same, and so it would run twice. What was acknowledged before, as at-most-once has it, no
broker delivers again, and so it would be lost: it is given to a child first.
"""

from __future__ import annotations

import inspect
import select
import time
from typing import Any

from celery.worker import state

PATIENCE = 5.0
"""Seconds that children may take to say what they have begun; a child that has a core needs some milliseconds."""


def conclude(pool: Any, hub: Any) -> None:
    """Have every job that a child has been given accepted, as far as its child answers in time.

    :param pool: Celery's prefork pool, the one for an event loop.
    :param hub: that loop.
    """
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        if settled := _settled(pool):
            _give(pool, hub)
        jobs = _under_way(pool)
        if not settled and not jobs:
            return
        for job in jobs:
            _write_the_rest(pool, job)
        # A child that is to be given one may have yet to say that it is there.
        sources = set(pool._fileno_to_outq) if settled else {job._write_to.outqR_fd for job in jobs}
        for source in select.select(sources, (), (), 0.1)[0]:
            _read(pool, hub, source)


def _settled(pool: Any) -> list[Any]:
    """Return the jobs that no child has been given, and that the broker does not have any more.

    A pool without an event loop has none: it gives each job to a child at once.
    """
    acknowledged = {request.id for request in tuple(state.reserved_requests) if request.acknowledged}
    return [job for job in getattr(pool, "outbound_buffer", ()) if job.correlation_id in acknowledged]


def _give(pool: Any, hub: Any) -> None:
    """Have Celery write to the children that are idle, as its event loop does."""
    free = pool._all_inqueues - pool._active_writes
    if ready := select.select((), free, (), 0)[1]:
        hub.consolidate_callback(ready)


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
