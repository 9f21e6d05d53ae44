"""The brokers that the jobs of a release survive."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.rig.containers import READY, Rig
from tests.rig.waiting import until
from tests.transport.server import IMAGES, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

REDIS, RABBITMQ = "redis", "rabbitmq"


class Broker(ABC):
    """A broker with the kit's users."""

    url = ""
    """As workers have it."""
    url_of_sender = ""

    @abstractmethod
    def restart(self) -> None:
        """Kill it, and have it again."""


class Redis(Broker):
    """Redis, or Valkey."""

    def __init__(self, server: Server):
        self.url = self.url_of_sender = server.url
        self._server = server

    def restart(self) -> None:
        """Kill it, and have it again."""
        self._server.kill()
        self._server.start()


class RabbitMQ(Broker):
    """RabbitMQ with quorum queues."""

    def __init__(self, rig: Rig):
        self._rig, self._process = rig, rig.rabbitmq()
        self.url_of_sender = rig.client.url
        self.url = self.url_of_sender.replace("producer", "worker", 1)

    def restart(self) -> None:
        """Kill it, and have it again."""
        self._process.kill()
        self._process.start()
        until(self._rig.client.ping, READY, lambda: f"RabbitMQ answers; log:\n{self._process.logs[-2000:]}")


@contextmanager
def broker(kind: str) -> Iterator[Broker]:
    """Have one for a while."""
    if kind == RABBITMQ:
        with Rig.in_memory() as rig:
            yield RabbitMQ(rig)
        return
    server = Server((os.environ.get("CELERYKIT_TEST_SERVERS", "").split() or list(IMAGES))[0])
    try:
        yield Redis(server)
    finally:
        server.close()
