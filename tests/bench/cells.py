"""The cells: what is measured, on which sides, and what is promised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.bench import measure
from tests.bench.measure import Side
from tests.bench.results import Bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.results import Round

STOCK = Side("stock", {"CELERYKIT_REDIS_TRANSPORT": "stock"})
KIT = Side("kit", {})
BOTH = (STOCK, KIT)
LOOKING = (Side("blind", {"CELERYKIT_TUNE": "off"}), KIT)
ROUNDS, CLOSE = 2, 3
"""How often each is measured, and how often where the bar is close to what is expected."""
NOT_SLOWER, NO_WORSE = 0.95, 1.05
"""Two measurements of the same thing differ by up to so much."""


@dataclass(frozen=True)
class Cell:
    """One question to the benchmark."""

    name: str
    text: str
    measure: Callable[[Sequence[Side]], Round]
    """Makes a round: it takes the sides in their order in it."""
    bars: tuple[Bar, ...]
    sides: tuple[Side, ...] = BOTH
    """The first is what the others are compared with."""
    rounds: int = ROUNDS


STARTS = (Bar("ready s", at_most=NO_WORSE), Bar("s beyond imports", at_most=0.5, unit="s"))
"""What is beyond them is what a worker does, and what it waits for."""


def _in_turn(measure_one: Callable[..., dict[str, float]], **options: Any) -> Callable[[Sequence[Side]], Round]:
    """Measure one side after the other, each on its own."""
    return lambda sides: {side.name: measure_one(side, **options) for side in sides}


def _faster(times: float) -> tuple[Bar, ...]:
    return (Bar("jobs/s", at_least=times),)


CELLS = {
    cell.name: cell
    for cell in (
        Cell(
            "kombu-4",
            "kombu alone: fetch and acknowledge, prefetch 4",
            _in_turn(measure.bare, prefetch=4),
            (Bar("messages/s", at_least=5),),
        ),
        Cell(
            "kombu-100",
            "the same, prefetch 100",
            _in_turn(measure.bare, prefetch=100),
            (Bar("messages/s", at_least=5),),
        ),
        Cell("solo", "no-op jobs, solo, prefetch 4", _in_turn(measure.rate, pool_class="solo"), _faster(3)),
        Cell(
            "threads",
            "no-op jobs, 4 threads, prefetch 4 each",
            _in_turn(measure.rate, pool_class="threads", concurrency=4),
            _faster(3),
        ),
        Cell(
            "prefork",
            "no-op jobs, 2 processes, prefetch 4 each",
            _in_turn(measure.rate, pool_class="prefork", concurrency=2),
            _faster(1.5),
        ),
        Cell(
            "prefetch-1",
            "no-op jobs, solo, prefetch 1",
            _in_turn(measure.rate, pool_class="solo", prefetch=1),
            _faster(NOT_SLOWER),
        ),
        Cell(
            "prefork-1",
            "no-op jobs, 2 processes, prefetch 1 each: the kit's defaults",
            _in_turn(measure.rate, pool_class="prefork", concurrency=2, prefetch=1),
            _faster(NOT_SLOWER),
        ),
        Cell(
            "queues-8",
            "no-op jobs from 8 queues, solo, prefetch 4",
            _in_turn(measure.rate, pool_class="solo", queues=8),
            _faster(NOT_SLOWER),
        ),
        Cell(
            "bodies-1mb",
            "no-op jobs with a body of 1 MB, solo, prefetch 4",
            _in_turn(measure.drained, size=2**20, count=60),
            _faster(NOT_SLOWER),
            rounds=CLOSE,
        ),
        Cell(
            "long-jobs",
            "16 jobs of 0.5 s come at once to 2 idle workers of 2 threads, prefetch 4 each",
            _in_turn(measure.shared, seconds=0.5, count=16),
            _faster(NOT_SLOWER),
        ),
        Cell(
            "latency",
            "from sending to starting a job, idle solo worker",
            _in_turn(measure.latency, queues=1),
            (Bar("p50 ms", at_most=NO_WORSE), Bar("p99 ms", at_most=NO_WORSE)),
            rounds=CLOSE,
        ),
        Cell(
            "latency-8",
            "the same, worker of 8 queues",
            _in_turn(measure.latency, queues=8),
            (Bar("p50 ms", at_most=NO_WORSE), Bar("p99 ms", at_most=NO_WORSE)),
            rounds=CLOSE,
        ),
        Cell(
            "idle-50",
            "50 idle solo workers: nothing comes, then 50 jobs a second (what resting costs included)",
            _in_turn(measure.idle),
            (Bar("broker ms/idle s", at_most=2), Bar("broker us/job", at_most=1.5)),
        ),
        Cell(
            "later",
            "100,000 jobs with an ETA, 1,000 due a second, 2 solo workers: memory while they wait, how late they start",
            _in_turn(measure.later),
            (Bar("MB more", at_most=20, unit="MB"), Bar("p99 s late", at_most=1, unit="s")),
            rounds=1,
        ),
        *(
            Cell(
                f"grown-{pool}",
                f"{count} no-op jobs with a time limit, {pool}: what its process that grows most has more in the end",
                _in_turn(measure.grown, pool_class=pool, count=count),
                (Bar("MB more", at_most=5, unit="MB"),),
                rounds=1,
            )
            for pool, count in (("prefork", 200_000), ("threads", 200_000), ("solo", 200_000))
        ),
        *(
            Cell(
                f"grown-{pool}-results",
                f"200000 no-op jobs with a result and no time limit, {pool}: as above",
                _in_turn(measure.grown, pool_class=pool, count=200_000, task="bench.result", longest=""),
                (Bar("MB more", at_most=5, unit="MB"),),
                rounds=1,
            )
            for pool in ("prefork", "threads")
        ),
        *(
            Cell(
                f"looking-{pool}",
                f"{pool}, by turns: what it costs to see what no-op jobs do, beside `CELERYKIT_TUNE=off` as stock",
                partial(measure.cost, pool_class=pool),
                (Bar("worker us/job", at_most=1.02),),
                sides=LOOKING,
                rounds=CLOSE,
            )
            for pool in ("prefork", "threads")
        ),
        Cell(
            "start-prefork",
            "from starting a worker of 2 processes to its consuming, beside an interpreter that has the same imports",
            _in_turn(measure.start, pool_class="prefork"),
            STARTS,
        ),
        Cell("start-threads", "the same, 2 threads", _in_turn(measure.start, pool_class="threads"), STARTS),
    )
}
