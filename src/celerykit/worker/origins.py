"""From where each message came: its queue, which no broker says, and its body before it was unpacked."""

from __future__ import annotations

from functools import partial
from typing import Any

import amqp

from celerykit.messages import dead_letters

QUEUE = "celerykit_queue"
"""In a message's ``delivery_info``: the name of the queue."""
PACKED = "celerykit_packed"
"""In a message's ``delivery_info``: the body as RabbitMQ had it, where it was compressed."""


def note(app: Any) -> None:
    """Let every consumer of jobs that ``app`` makes from now on note the origin of what it receives."""
    if not hasattr(app.amqp.Consumer, "notes_origins"):
        app.amqp.Consumer = _noting(app.amqp.Consumer)


def origin_of(message: Any) -> dict[str, str]:
    """Return ``queue``, ``exchange`` and ``routing_key`` by which a message came; no queue if nobody noted it."""
    told = message.delivery_info or {}
    names = {"queue": QUEUE, "exchange": "exchange", "routing_key": "routing_key"}
    return {name: str(told.get(key) or "") for name, key in names.items()}


def body_of(message: Any) -> Any:
    """Return the body as the broker has it: Kombu unpacks a compressed one as soon as it comes."""
    if PACKED in message.delivery_info:
        return message.delivery_info[PACKED]
    raw = getattr(message, "_raw", None)
    if isinstance(raw, dict) and raw.get("body"):
        return message.channel.decode_body(raw["body"], raw["properties"].get("body_encoding"))
    return message.body


def _noting(base: Any) -> Any:
    class Consumer(base):  # type: ignore[misc]
        notes_origins = True

        def _basic_consume(self, queue: Any, *args: Any, **options: Any) -> Any:
            # Kombu gives each queue its consumer's callback, which does not know whose message it gets.
            receive: Any = super()._receive_callback
            self._receive_callback = partial(_receive, queue.name, receive)
            try:
                return super()._basic_consume(queue, *args, **options)
            finally:
                del self._receive_callback

    return Consumer


def _receive(queue: str, receive: Any, message: Any) -> Any:
    info = message.delivery_info
    info[QUEUE] = queue
    headers = message.headers or {}
    if isinstance(message, amqp.Message) and headers.get("compression"):  # Kombu unpacks it next
        info[PACKED] = message.body
    if first := headers.get(dead_letters.ORIGIN):
        # What was put back came by the default exchange; to its task, and to a retry, it is where it was sent.
        info.update(exchange=first["exchange"], routing_key=first["routing_key"])
    return receive(message)
