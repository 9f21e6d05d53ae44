"""Celery's events, sent by a worker that has more important things to do."""

from __future__ import annotations

from typing import Any

from celery.events.dispatcher import EventDispatcher


class Dispatcher(EventDispatcher):  # type: ignore[misc]
    """Keeps an event that cannot be sent for later, as its base does, without waiting for the broker first.

    Heartbeats are sent from the event loop. Celery's wait there without end, on a connection of their own: the loop,
    which would notice that the broker is gone, and which takes the results of running jobs, does not turn meanwhile.
    """

    def _publish(self, *args: Any, retry: bool = False, **options: Any) -> Any:
        return super()._publish(*args, retry=False, **options)
