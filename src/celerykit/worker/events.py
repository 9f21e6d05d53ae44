"""Celery's events, sent by a worker that has more important things to do."""

from __future__ import annotations

import contextlib
from typing import Any

from amqp.connection import Connection
from celery.events.dispatcher import EventDispatcher


class Dispatcher(EventDispatcher):  # type: ignore[misc]
    """Keeps an event that cannot be sent for later, as its base does, without waiting for the broker first.

    Heartbeats are sent from the event loop. Celery's wait there without end, on a connection of their own: the loop,
    which would notice that the broker is gone, and which takes the results of running jobs, does not turn meanwhile.
    """

    # Nobody empties the queue of a receiver that has gone: PGMQ would keep the events for ever.
    DISABLED_TRANSPORTS = EventDispatcher.DISABLED_TRANSPORTS | {"pgmq"}

    _held = False
    """Whether RabbitMQ, short of memory or disk, has stopped reading."""

    def enable(self) -> None:
        """Ask RabbitMQ for no confirms: an event is not worth the wait."""
        super().enable()
        if self.channel is None and isinstance(self.connection.connection, Connection):
            channel = self.connection.default_channel
            channel.basic_publish = channel._basic_publish
            channel.connection.on_blocked = self._on_blocked
            channel.connection.on_unblocked = self._on_unblocked

    def _on_blocked(self, _reason: str) -> None:
        self._held = True

    def _on_unblocked(self) -> None:
        self._held = False

    def _publish(self, *args: Any, retry: bool = False, **options: Any) -> Any:
        if self._held:
            with contextlib.suppress(TimeoutError):
                self.connection.drain_events(timeout=0)  # the word that it reads again
        return None if self._held else super()._publish(*args, retry=False, **options)
