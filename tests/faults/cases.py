"""The faults: what is done to workers, how often, and what may come of it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.faults.outcome import Outcome, account
from tests.faults.run import SHORTEST_JOB, Run
from tests.rig.containers import Rig
from tests.rig.sentinel import Sentinel
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.rig.process import Process

STOCK = {"CELERYKIT_REDIS_TRANSPORT": "stock"}
INTERRUPTION = 16.0
"""Seconds that a worker is away: longer than its lease. A longer cut is a test of its own, in ``test_survival.py``."""


@dataclass(frozen=True)
class Case:
    """One fault: how often it strikes, and what is promised."""

    name: str
    text: str
    strike: Callable[[Run, int], None]
    events: int
    jobs: int = 0
    """How many must have been accepted at least, for this many events."""
    once: bool = False
    """No job may start twice either."""
    on_stock: bool = True
    """Whether the same done to stock workers says anything."""
    broker: Callable[[Rig], Any] = Rig.redis

    def run(self, seed: int, events: int, environment: Mapping[str, str]) -> Outcome:
        """Do it to workers with this environment, so many times."""
        began = time.monotonic()
        with Rig.in_memory() as rig:
            run = Run(rig, self.broker(rig), random.Random(f"{seed} {self.name}"), environment)
            self.strike(run, events)
            left = run.settle()
            return account(rig.ledger, run.events, left, time.monotonic() - began)

    def is_kept(self, outcome: Outcome) -> bool:
        """Say whether an outcome is what the kit promises, and proves it."""
        enough = outcome.accepted >= max(1, self.jobs * outcome.events // self.events)
        return enough and not outcome.lost and not outcome.left and not (self.once and outcome.started_twice)


def kill_stopped(run: Run, events: int) -> None:
    """Stop idle workers, send as many jobs, kill the workers: what the broker handed to them is with nobody."""
    workers = [run.worker(pool) for pool in ("solo", "threads", "prefork", "solo", "threads")]
    while len(run.events) < events:
        victims = workers[: events - len(run.events)]
        for worker in workers:
            worker.wait_ready()
        run.pause(0.5, 1.5)  # the wait for a job begins anew each second
        for worker in workers:
            worker.signal("SIGSTOP")
        jobs = run.rig.client.work(len(victims), SHORTEST_JOB)
        time.sleep(0.1)
        run.kill(victims)
        for worker in workers[len(victims) :]:
            worker.signal("SIGCONT")
        run.wait_for_most(jobs, 15)


def kill_under_load(run: Run, events: int) -> None:
    """Kill one worker after the other at any point of its work, while jobs stream in."""
    workers = [run.worker(pool) for pool in ("prefork", "threads", "solo")]
    with run.load(300, jobs=500 * events):
        for _ in range(events):
            run.pause(1.0, 3.0)
            victim = run.dice.choice(workers)
            victim.wait_ready()
            run.kill([victim])


def cut_off(run: Run, events: int) -> None:
    """Cut workers off without a word, and let them come back."""
    interrupt(run, events, run.rig.cut, run.rig.mend)


def halt(run: Run, events: int) -> None:
    """Let workers stand still, as a machine that is moved or swaps does, and go on as if nothing had been."""
    interrupt(run, events, lambda worker: worker.signal("SIGSTOP"), lambda worker: worker.signal("SIGCONT"))


def interrupt(run: Run, events: int, begin: Callable[[Process], None], end: Callable[[Process], None]) -> None:
    """Take two of four workers away for a while, with what they run and hold, while jobs come."""
    workers = [run.worker(pool) for pool in ("solo", "threads", "prefork", "threads")]
    with run.load(6, longest=1.0):
        while len(run.events) < events:
            for worker in workers:
                worker.wait_ready()
            run.pause(0.5, 1.5)
            victims = run.dice.sample(workers, min(2, events - len(run.events)))
            for victim in victims:
                run.struck()
                begin(victim)
            time.sleep(INTERRUPTION)
            for victim in victims:
                end(victim)
        for worker in workers:
            worker.wait_ready()


def outlast_the_visibility_timeout(run: Run, events: int) -> None:
    """Run jobs, and wait for the ETA of others, for longer than twice the app's own visibility timeout."""
    for _ in range(2):
        run.worker("prefork", "impatient", CELERYKIT_LONGEST_JOB="60")
    for _ in range(events):
        run.struck()
        client = run.rig.client
        run.wait_for_most([*client.work(2, 12.0), *client.work(2, SHORTEST_JOB, countdown=12)], 60)
        time.sleep(6)  # another visibility timeout, for those that come once more


def fail_over(run: Run, events: int) -> None:
    """Kill the master of a Redis with replicas while jobs run and others wait.

    None is sent meanwhile: what a master has taken and not passed on when it dies is lost to anybody.
    """
    without_results = {"CELERY_RESULT_BACKEND": "UNSET"}
    for pool in ("prefork", "threads", "solo"):
        run.worker(pool, "replicated", **without_results)
    for _ in range(events):
        jobs = run.rig.client.work(60, 0.4)
        until(lambda: run.rig.ledger.account().running, 60, "running jobs")
        run.pause(0.0, 1.0)
        run.struck()
        run.broker.fail_over()
        run.wait_for_most(jobs, 60)
        run.broker.wait_whole()


def mix(run: Run, events: int) -> None:
    """Kill kit workers, and restart stock ones, that share a queue, while jobs stream in."""
    kit = [run.worker(pool) for pool in ("prefork", "threads")]
    stock = [run.worker(pool, **STOCK) for pool in ("prefork", "threads")]
    with run.load(100):
        for _ in range(events):
            run.pause(1.0, 5.0)
            victim = run.dice.choice([*kit, *stock])
            victim.wait_ready()
            if victim in kit:
                run.kill([victim])
            else:
                run.struck()
                victim.container.restart(timeout=40)


CASES = {
    case.name: case
    for case in (
        Case("stopped", "an idle worker is stopped, a job sent, the worker killed", kill_stopped, events=100),
        Case("killed", "a worker is killed under load", kill_under_load, events=40, jobs=20_000),
        Case(
            "cut-off",
            f"a worker is cut off for {INTERRUPTION:g} s, without a word, while jobs come",
            cut_off,
            events=20,
        ),
        Case("halted", f"a worker stands still for {INTERRUPTION:g} s while jobs come", halt, events=20),
        Case(
            "long-jobs",
            "2 jobs of 12 s, and 2 with a countdown of 12 s, under a visibility timeout of 5 s",
            outlast_the_visibility_timeout,
            events=3,
            once=True,
        ),
        Case(
            "failover",
            "the master of a Redis with two replicas and three Sentinels is killed while jobs run and wait",
            fail_over,
            events=10,
            broker=Sentinel,
        ),
        Case(
            "mixed",
            "kit and stock workers share a queue under load: kit workers are killed, stock ones restarted",
            mix,
            events=140,
            on_stock=False,
        ),
    )
}
