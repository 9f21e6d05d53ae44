"""How much a worker of many queues costs while it is idle, and with a job now and then.

``python -m tests.transport.queues [QUEUES ...]`` prints a line for each number; needs the images of ``make test``.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tests.transport.bench import Bench
from tests.transport.server import IMAGES, Server

if TYPE_CHECKING:
    from tests.transport.bench import Consumer

SECONDS = 20.0
JOBS = 50


def _read(bench: Bench) -> tuple[float, ...]:
    told: dict[str, Any] = bench.root.info("everything")
    cpu = told["used_cpu_user"] + told["used_cpu_sys"]
    return time.process_time(), cpu, told["total_commands_processed"], told["total_net_input_bytes"]


def idle(bench: Bench, consumer: Consumer) -> str:
    """Let a worker wait, and say what that has cost each second."""
    before = _read(bench)
    consumer.turns(SECONDS)
    own, server, commands, sent = (now - then for now, then in zip(_read(bench), before, strict=True))
    return (
        f"idle: {own / SECONDS:6.2%} CPU of the worker, {server / SECONDS:6.2%} of Redis, "
        f"{commands / SECONDS:5.1f} commands/s, {sent / SECONDS / 1000:6.1f} KB/s sent"
    )


def one_by_one(bench: Bench, consumer: Consumer, queue: str) -> str:
    """Send jobs one after the other, each when the one before is done, and say how long each took."""
    before, began = _read(bench), time.monotonic()
    for number in range(JOBS):
        bench.send(number, queue=queue)
        consumer.get(1)[0].ack()
        consumer.messages.clear()
    took = (time.monotonic() - began) / JOBS
    own, server, _, sent = (now - then for now, then in zip(_read(bench), before, strict=True))
    longest = max(call["duration"] for call in bench.root.slowlog_get(10_000) if b"EVALSHA" in call["command"])
    return (
        f"a job: {1000 * took:6.1f} ms, {1000 * own / JOBS:6.1f} ms CPU of the worker, {1000 * server / JOBS:6.1f} of "
        f"Redis, {sent / JOBS / 1000:6.1f} KB sent, longest step {longest / 1000:5.1f} ms"
    )


def main() -> None:
    """Measure on the server that `CELERYKIT_TEST_SERVERS` names first, or the kit's own."""
    kind = (os.environ.get("CELERYKIT_TEST_SERVERS", "").split() or [*IMAGES])[0]
    with closing(Server(kind)) as server:
        for number in map(int, sys.argv[1:] or ("1", "100", "10000")):
            server.reset()
            with closing(Bench(server)) as bench:
                names = [f"tenant-{place}" for place in range(number)]
                consumer = bench.consume(*names, prefetch=4)
                consumer.turns(2.0)
                told = idle(bench, consumer)
                server.root.config_set("slowlog-log-slower-than", 0)
                server.root.slowlog_reset()
                print(f"{number:6} queues; {told}; {one_by_one(bench, consumer, names[number // 2])}", flush=True)


if __name__ == "__main__":
    main()
