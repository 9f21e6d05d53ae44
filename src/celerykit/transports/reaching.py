"""Publishes to a queue, or says that there is none."""

from __future__ import annotations

from typing import Any


class Reaching:
    """A channel of Kombu's virtual exchanges that refuses a message which must reach a queue, and would reach none.

    Kombu drops it without a word; AMQP 0-9-1 returns it (``mandatory``).
    """

    _must_reach: str | None = None
    """The routing key of the message that is being published, where it must reach a queue."""

    def basic_publish(self, message: Any, exchange: str, routing_key: str, **options: Any) -> Any:
        """Publish.

        :raises LookupError: if the message is ``mandatory`` and no queue takes it.
        """
        self._must_reach = routing_key if options.get("mandatory") else None
        try:
            return super().basic_publish(message, exchange, routing_key, **options)  # type: ignore[misc]
        finally:
            self._must_reach = None

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> Any:
        queues = super()._lookup(exchange, routing_key, default)  # type: ignore[misc]
        return self.required(queues, exchange)

    def required(self, taken: Any, exchange: str) -> Any:
        """Return what has taken the message that is being published.

        :raises LookupError: if that is nothing, and the message must reach a queue.
        """
        if self._must_reach is not None and not taken:
            raise LookupError(f"no queue takes what is sent to exchange {exchange!r} by key {self._must_reach!r}")
        return taken
