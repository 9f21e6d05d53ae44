"""One run of a fault: containers, load, and when the events struck."""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.rig.containers import Rig
    from tests.rig.process import Process

PATIENCE = 60.0
"""Seconds after which a job that is not done will not be: three times the visibility timeout of the rig."""
SHORTEST_JOB, LONGEST_JOB = 0.005, 0.05
WAITING = 30
"""Jobs in the queue at which no more are sent, for the time being."""


@dataclass
class Run:
    """One run of a case: its containers, its dice, and when the events struck."""

    rig: Rig
    broker: Any
    dice: random.Random
    environment: Mapping[str, str]
    events: list[float] = field(default_factory=list)

    def worker(self, pool_class: str, app: str = "plain", **options: str) -> Process:
        """Start a worker of the side under test."""
        told = {"CELERYKIT_STUCK_AFTER": "20", **self.environment, **options}
        return self.rig.worker(pool_class, app, **told)

    def struck(self) -> None:
        """Write down that an event strikes now."""
        self.events.append(time.time())

    def pause(self, shortest: float, longest: float) -> None:
        """Let some time pass, so that events strike at every point of what workers do."""
        time.sleep(self.dice.uniform(shortest, longest))

    def kill(self, victims: Sequence[Process]) -> None:
        """Kill workers, each of which is an event, and start them again."""
        for victim in victims:
            self.struck()
            victim.signal("SIGKILL")
        for victim in victims:
            victim.wait_exit(60)
            victim.start()

    @contextmanager
    def load(self, a_second: float, longest: float = LONGEST_JOB, jobs: int = 0) -> Iterator[None]:
        """Submit jobs while this lasts, and at least so many in all."""
        ended, dice = threading.Event(), random.Random(self.dice.random())

        def feed() -> None:
            submitted = 0
            while not ended.is_set() or submitted < jobs:
                # A queue that only grows would tell of the machine, not of the fault.
                if submitted % WAITING or self.rig.client.queued() < WAITING:
                    self.rig.client.submit("jobs.work", dice.uniform(SHORTEST_JOB, longest))
                    submitted += 1
                time.sleep(1 / a_second)

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            until(lambda: self.rig.ledger.account().done, 60, "jobs that are done before anything happens")
            yield
        finally:
            ended.set()
            feeder.join()

    def wait_for_most(self, jobs: Sequence[str], seconds: float) -> None:
        """Wait for jobs, but not without end: those that a worker has lost would be waited for in vain."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not set(jobs) <= set(self.rig.ledger.account().done):
            time.sleep(0.2)

    def settle(self) -> int:
        """Wait until every job is done that will be, and return how many the broker still holds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and (self.rig.ledger.account().lost or self._held()):
            time.sleep(1.0)
        return self._held()

    def _held(self) -> int:
        return self.rig.client.queued() + self.rig.client.unacknowledged()
