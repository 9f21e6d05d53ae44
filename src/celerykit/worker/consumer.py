"""Celery's consumer, telling of its progress where the event loop cannot."""

from __future__ import annotations

from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from celerykit import reconnect


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """The consumer of every worker under the kit's settings (``worker_consumer``)."""

    def ensure_connected(self, conn: Any) -> Any:
        """Connect; each attempt is progress, since the loop does not turn before it succeeds."""
        return super().ensure_connected(reconnect.watch(conn, self._progress))

    def perform_pending_operations(self) -> None:
        """Run what waits; where there is no event loop, this is called at each turn of the blocking one."""
        self._progress()
        super().perform_pending_operations()

    def _progress(self) -> None:
        pulse = getattr(self.controller, "pulse", None)
        if pulse is not None:
            pulse.beat()
