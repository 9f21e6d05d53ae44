"""Whether RabbitMQ has room for messages: with an alarm it answers nothing that is sent, and delivers it later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError

from celerykit.brokers import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

NOWHERE = "celerykit.nowhere"
"""The routing key of no queue: RabbitMQ confirms such a message, and forgets it."""
PATIENCE = 2.0
"""Seconds that the worker's loop may wait for the answer."""
PAUSE = 10.0
"""Seconds for which a refusal holds, without another question."""


class Room:
    """What is known of the room of one app's broker."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self._now = now
        self._full_until = -PAUSE

    def require(self, app: Any) -> None:
        """Check that the broker takes messages, if it is RabbitMQ, by one that goes nowhere.

        Each attempt at a real one would be a copy, for when there is room again.

        :raises kombu.exceptions.OperationalError: if it does not.
        """
        if not catalogue.is_rabbitmq(app):
            return
        if self._now() < self._full_until:
            raise OperationalError("RabbitMQ took no message a moment ago")
        try:
            with app.producer_or_acquire() as producer:
                _ask(producer.connection)
        except TimeoutError as exc:
            self._full_until = self._now() + PAUSE
            raise OperationalError("RabbitMQ takes no message, for want of memory or disk") from exc


def _ask(connection: Any) -> None:
    connection.ensure_connection(max_retries=1)
    try:
        with connection.connection.transport.having_timeout(PATIENCE), connection.channel() as channel:
            channel.basic_publish(channel.prepare_message(b""), exchange="", routing_key=NOWHERE)
    except TimeoutError:
        connection.collect()
        raise
