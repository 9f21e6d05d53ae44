"""Celery's consumer, telling of its progress where the event loop cannot."""

from __future__ import annotations

from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """The consumer of every worker under the kit's settings (``worker_consumer``)."""

    def call_soon_ack(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """Acknowledge at once where that only takes note of it; Celery's would wait for the loop's next turn."""
        if getattr(self.connection, "workplace", None) is None:
            return super().call_soon_ack(p, *args, **kwargs)
        return p(*args, **kwargs)

    def perform_pending_operations(self) -> None:
        """Run what waits; where there is no event loop, this is called at each turn of the blocking one."""
        pulse = getattr(self.controller, "pulse", None)
        if pulse is not None:
            pulse.beat()
        super().perform_pending_operations()
