"""``make demo``: restart and kill a stack's parts while 500 jobs run, and count.

The stack is the one of ``docker compose up``, under a name of its own, with two workers of eight processes.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.compose import Stack
from tests.rig.ledger import Account, Ledger
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = "celerykit-demo"
JOBS = 500
SECONDS = 0.5
WORKERS = 2
SLOTS = 8
PATIENCE = 180.0


@dataclass(frozen=True)
class Fault:
    """What was done to the stack, and when it struck, in seconds since the epoch."""

    name: str
    at: float

    def hit(self, ledger: Ledger) -> dict[str, float]:
        """Return the jobs that ran when it struck, and when each of them was done in the end."""
        entries = ledger.entries()
        started = {entry.job for entry in entries if entry.kind == "start" and self.at - 2 < entry.at <= self.at}
        ended = {entry.job for entry in entries if entry.kind == "done" and entry.at <= self.at}
        ends = {entry.job: entry.at for entry in entries if entry.kind == "done"}
        return {job: ends.get(job, math.inf) for job in started - ended}

    def recovery(self, ledger: Ledger) -> float:
        """Return the seconds until the last of those jobs was done."""
        return max(self.hit(ledger).values(), default=self.at) - self.at


class Demo:
    """The stack under test and the ledger outside of it."""

    def __init__(self, folder: Path):
        self.ledger = Ledger(folder)
        self.stack = Stack.with_ledger(
            PROJECT,
            self.ledger,
            CELERY_WORKER_CONCURRENCY=str(SLOTS),
            CELERYKIT_STOP_TIMEOUT="60",
        )

    def start(self) -> None:
        """Bring the stack up and connect the client."""
        self.stack.up("worker", workers=WORKERS)
        self.client = self.stack.client(self.ledger)

    def strike(self, name: str, fault: Callable[[], float]) -> Fault:
        """Do something to the stack while jobs run, and wait until those that it hit are done."""
        until(lambda: self.ledger.account().running, 60, "running jobs", pause=0.05)
        say(name)
        struck = Fault(name, fault())
        until(lambda: struck.recovery(self.ledger) < math.inf, PATIENCE, "the jobs that were hit are done", pause=0.1)
        return struck

    def restart_workers(self) -> float:
        """Restart the worker service as an operator does."""
        at = time.time()
        self.stack.compose("restart", "worker")
        return at

    def kill_worker(self) -> float:
        """Kill one worker, whatever it is doing, and leave the jobs to the other."""
        victim = self.stack.processes("worker")[0]
        at = time.time()
        victim.signal("SIGKILL")
        return at

    def restart_redis(self) -> float:
        """Restart the broker; its data stays on its volume, its port on loopback may change."""
        at = time.time()
        self.stack.compose("restart", "redis")
        self.client = self.stack.client(self.ledger)
        return at


def main() -> int:
    """Run the demonstration and return 1 if a job was lost."""
    say(f"{JOBS} jobs of {SECONDS} s on {WORKERS} workers of {SLOTS} processes")
    folder = Path(tempfile.mkdtemp(prefix="celerykit-demo-"))
    demo = Demo(folder)
    try:
        demo.start()
        demo.client.work(JOBS, SECONDS)
        faults = [
            demo.strike("restart the worker service", demo.restart_workers),
            demo.strike("kill one worker container", demo.kill_worker),
            demo.strike("restart redis", demo.restart_redis),
        ]
        began = time.monotonic()
        until(lambda: finished(demo.ledger.account()) or time.monotonic() - began > PATIENCE, PATIENCE + 5, "the end")
        account = demo.ledger.account()
        print(table(demo.ledger, faults))
    finally:
        demo.stack.remove()
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if account.lost else 0


def finished(account: Account) -> bool:
    """Say whether every accepted job is done; a line of progress on the way."""
    if sys.stdout.isatty():
        print(f"\r{account}", end="", flush=True)
    return not account.lost


def table(ledger: Ledger, faults: list[Fault]) -> str:
    """Return the outcome as text."""
    account = ledger.account()
    counts = (account.accepted, account.done, account.lost, account.started_twice)
    return "\n".join(
        [
            "",
            f"{'fault':<28}{'jobs hit':>10}{'seconds to recover':>20}",
            *(f"{fault.name:<28}{len(fault.hit(ledger)):>10}{fault.recovery(ledger):>20.1f}" for fault in faults),
            "",
            "".join(f"{name:>12}" for name in ("accepted", "done", "lost", "run twice")),
            "".join(f"{len(count):>12}" for count in counts),
        ]
    )


def say(text: str) -> None:
    """Tell the viewer what happens now."""
    print(f"demo: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
