"""Asking RabbitMQ whether it takes messages."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from kombu.exceptions import OperationalError

from celerykit.worker.room import NOWHERE, PAUSE, Room

if TYPE_CHECKING:
    from collections.abc import Iterator


class App:
    """An app whose broker has an alarm, or none."""

    def __init__(self, url: str = "amqp://", alarm: bool = True):
        self.conf = SimpleNamespace(broker_read_url=url)
        self.alarm = alarm
        self.asked: list[str] = []

    @contextmanager
    def producer_or_acquire(self) -> Iterator[Any]:
        """Have a producer."""
        channel = SimpleNamespace(basic_publish=self.publish, prepare_message=lambda body: body)
        opened = SimpleNamespace(transport=SimpleNamespace(having_timeout=lambda _: nullcontext()))
        connection = SimpleNamespace(
            ensure_connection=lambda max_retries: None,
            connection=opened,
            channel=lambda: nullcontext(channel),
            collect=lambda: self.asked.append("collected"),
        )
        yield SimpleNamespace(connection=connection)

    def publish(self, _: Any, exchange: str, routing_key: str) -> None:
        """Confirm a message, or not."""
        self.asked.append(exchange + routing_key)
        if self.alarm:
            raise TimeoutError


def test_a_full_broker_is_asked_now_and_then() -> None:
    """Each question holds up the worker's loop; the connection that had no answer is dropped."""
    now, app = [0.0], App()
    room = Room(lambda: now[0])
    for _ in range(3):
        with pytest.raises(OperationalError):
            room.require(app)
    assert app.asked == [NOWHERE, "collected"]
    now[0], app.alarm = PAUSE + 1, False
    room.require(app)
    room.require(app)
    assert app.asked[2:] == [NOWHERE, NOWHERE]


def test_other_brokers_answer_at_once() -> None:
    """They need no such question."""
    app = App("redis://")
    Room().require(app)
    assert app.asked == []
