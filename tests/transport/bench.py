"""Producers, consumers and workers on one server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kombu import Connection, Queue

from celerykit.transports.redis import Transport
from celerykit.transports.redis.consumer_info import Workplace
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.transport.server import Server

PROGRAM = Path(__file__).with_name("worker.py")
RANKS = (0, 3, 6, 9)
PATIENCE = 120.0
"""Seconds for what is no promise: a program needs 30 to begin at a load of 60."""
TAKEOVER = 10.0
"""Seconds within which a dead worker's jobs are with somebody else."""


class Consumer:
    """A consumer in this process; what it gets stays with it until it is told otherwise."""

    def __init__(self, connection: Connection, queues: Sequence[str | Queue], prefetch: int):
        self.connection = connection
        self.messages: list[Any] = []
        self.consumer = connection.Consumer(
            [queue if isinstance(queue, Queue) else Queue(queue) for queue in queues], on_message=self.messages.append
        )
        self.consumer.qos(prefetch_count=prefetch)
        self.consumer.consume()

    @property
    def bodies(self) -> list[Any]:
        """What has come so far."""
        return [message.payload for message in self.messages]

    @property
    def channel(self) -> Any:
        """The channel by which it comes."""
        return self.consumer.channel

    @property
    def lease(self) -> Any:
        """The lease under which it is held."""
        return self.channel.lease

    @property
    def renewal(self) -> Any:
        """What renews it, and takes over from others."""
        return self.lease.keeper.renewal

    @property
    def fetcher(self) -> Any:
        """What fetches the jobs."""
        return self.channel.fetcher

    def turn(self, seconds: float = 0.2) -> None:
        """Wait once for whatever comes."""
        with suppress(TimeoutError):
            self.connection.drain_events(timeout=seconds)

    def turns(self, seconds: float) -> None:
        """Take what comes for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.turn(left)

    def get(self, number: int, seconds: float = PATIENCE) -> list[Any]:
        """Wait until so many have come, and return them."""
        end = time.monotonic() + seconds
        while len(self.messages) < number and time.monotonic() < end:
            self.turn(0.1)
        assert len(self.messages) >= number, f"{len(self.messages)} of {number} came"
        return self.messages


class Bench:
    """What one test has opened and started; :meth:`close` ends it."""

    def __init__(self, server: Server):
        self.server = server
        self.root = server.root
        self._connections: list[Connection] = []
        self._programs: list[subprocess.Popen[bytes]] = []
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.producer = self.connect(stock=True).Producer()

    def connect(self, *, stock: bool = False, workplace: Workplace | None = None, **options: Any) -> Connection:
        """Open a connection as Celery would."""
        told = {"visibility_timeout": 3600, "unacked_restore_interval": 1, "socket_timeout": 5, **options}
        transport = {} if stock else {"transport": Transport}
        connection = Connection(self.server.url, transport_options=told, **transport)
        if workplace is not None:
            connection.workplace = workplace
        self._connections.append(connection)
        return connection

    def send(self, *bodies: Any, queue: str = "jobs", **options: Any) -> None:
        """Send messages, each with a body."""
        for body in bodies:
            self.producer.publish(body, routing_key=queue, serializer="json", **options)

    def consume(
        self,
        *queues: str | Queue,
        prefetch: int = 1,
        stock: bool = False,
        workplace: Workplace | None = None,
        **options: Any,
    ) -> Consumer:
        """Consume by the kit's transport, or by Kombu's."""
        if workplace is None and not stock:
            workplace = Workplace(name=f"worker{len(self._connections)}@test")
        return Consumer(self.connect(stock=stock, workplace=workplace, **options), queues or ("jobs",), prefetch)

    def start(self, *, stock: bool = False, **told: Any) -> Worker:
        """Start a worker in a process of its own; what it is told is in ``worker.py``."""
        log = Path(self._folder.name) / f"worker{len(self._programs)}"
        given = {"url": self.server.url, "log": str(log), "stock": stock, **told}
        program = subprocess.Popen([sys.executable, str(PROGRAM), json.dumps(given)], cwd=Path(__file__).parents[2])
        self._programs.append(program)
        return Worker(program, log)

    def waiting(self, queue: str = "jobs") -> int:
        """Return how many jobs wait in a queue."""
        return sum(self.root.llen(queue if not rank else f"{queue}\x06\x16{rank}") for rank in RANKS)

    @property
    def reserved(self) -> int:
        """How many jobs are with workers."""
        return int(self.root.hlen("unacked"))

    def owned(self) -> dict[str, int]:
        """Return how many jobs each worker owns."""
        keys = self.root.keys("celerykit.owned:*")
        return {key.decode().partition(":")[2]: self.root.hlen(key) for key in keys}

    def close(self) -> None:
        """End everything."""
        for program in self._programs:
            program.kill()
            program.wait()
        for connection in self._connections:
            connection.close()
        self._folder.cleanup()


class Worker:
    """A worker in a process of its own, and what it has written: ``got`` and ``done``, each with a body."""

    def __init__(self, program: subprocess.Popen[bytes], log: Path):
        self.program = program
        self._log = log

    def lines(self, kind: str) -> list[str]:
        """Return the bodies of one kind of line."""
        text = self._log.read_text() if self._log.exists() else ""
        return [line.split(" ", 1)[1] for line in text.splitlines() if line.startswith(f"{kind} ")]

    def wait(self, kind: str, number: int = 1, seconds: float = PATIENCE) -> list[str]:
        """Wait for so many lines of a kind."""
        return until(lambda: (got := self.lines(kind))[: len(got) if len(got) >= number else 0], seconds, kind, 0.02)

    def signal(self, name: str) -> None:
        """Send a signal."""
        os.kill(self.program.pid, getattr(signal, name))

    def kill(self) -> None:
        """Kill it and wait for its end."""
        self.program.kill()
        self.program.wait()
