"""How long the jobs of a dead worker take to be back in their queues, and how long each step of that holds up Redis.

``python -m tests.transport.takeover [JOBS] [KILOBYTES] [HEIRS]`` prints one line; needs the images of ``make test``.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing

from celerykit.transports.redis.consumer_info import Workplace
from tests.rig.waiting import until
from tests.transport.bench import Bench
from tests.transport.server import IMAGES, Server

LEASE = 6.0


def measure(bench: Bench, jobs: int, size: int, heirs: int) -> str:
    """Have a worker with so many jobs of so many bytes die beside others that are idle, and say how it went."""
    bench.send(*["x" * (size * 3 // 4)] * jobs)
    dead = bench.consume(prefetch=jobs, workplace=Workplace(name="dead@test", lease_seconds=LEASE))
    dead.get(jobs)
    for number in range(heirs):
        bench.consume("elsewhere", workplace=Workplace(name=f"heir{number}@test"))
    root = bench.root
    root.config_set("slowlog-log-slower-than", 0)
    root.slowlog_reset()
    dead.lease.keeper.stop()
    until(lambda: bench.reserved < jobs or time.time() > root.zscore("celerykit.owners", dead.lease.owner), 30, "over")
    began, sent = time.monotonic(), root.info("stats")["total_net_output_bytes"]
    until(lambda: not bench.reserved, 300, lambda: f"{bench.reserved} are left", pause=0.02)
    took = time.monotonic() - began
    sent = root.info("stats")["total_net_output_bytes"] - sent
    longest = max(call["duration"] for call in root.slowlog_get(10_000) if b"EVALSHA" in call["command"])
    assert bench.waiting() == jobs
    return (
        f"{jobs} jobs of {size / 1000:g} KB, {heirs} heirs: back {took:.1f} s after the lease, "
        f"longest step {longest / 1000:.1f} ms, {sent / 1e6:.1f} MB sent by Redis"
    )


def main() -> None:
    """Measure on the server that `CELERYKIT_TEST_SERVERS` names first, or the kit's own."""
    jobs, kilobytes, heirs = (int(told) for told in (*sys.argv[1:], *("400", "500", "2")[len(sys.argv) - 1 :]))
    kind = (os.environ.get("CELERYKIT_TEST_SERVERS", "").split() or [*IMAGES])[0]
    with closing(Server(kind)) as server:
        server.root.config_set("slowlog-max-len", 10_000)
        with closing(Bench(server)) as bench:
            print(measure(bench, jobs, kilobytes * 1000, heirs))


if __name__ == "__main__":
    main()
