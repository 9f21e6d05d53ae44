"""A worker that is killed at any step of the protocol loses nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.transport.bench import Bench

JOBS = frozenset(range(5))
STEPS = [step / 2 for step in range(2, 121)]
"""Exchanges with Redis, from the first of a worker's start to the last of its jobs; a half is after the answer."""


@pytest.mark.parametrize("prefetch", [1, 4])
def test_a_worker_killed_at_any_step_loses_nothing(bench: Bench, prefetch: int) -> None:
    """Whatever step it dies at, another does all that it had not done."""
    sent = {f"{step:g}.{job}" for step in STEPS for job in JOBS}
    for job in sorted(sent):
        bench.send(job, queue=f"jobs{job.rpartition('.')[0]}")
    victims = bench.start(prefetch=prefetch, dies_at=STEPS, jobs=len(JOBS))
    victims.wait("over", seconds=60)
    killed = [line for line in victims.lines("ended") if not line.endswith(" 0")]
    assert len(STEPS) / 2 < len(killed) < len(STEPS), f"{len(killed)} of {len(STEPS)} were killed: too few, or too soon"
    heir = bench.consume(*(f"jobs{step:g}" for step in STEPS), prefetch=10_000)
    done = set(victims.lines("done"))
    until(lambda: heir.turn(0.1) or sent <= done | set(heir.bodies), 15, lambda: str(sent - done - set(heir.bodies)))
    # What a victim had done and not acknowledged comes, too.
    until(lambda: heir.turn(0.1) or bench.reserved == len(heir.messages), 30, "every reservation is the heir's")
    assert not [job for job, times in Counter(heir.bodies).items() if times > 1]
