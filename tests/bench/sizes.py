"""The cells of sizes: how many jobs at once is best, set by hand and found by the kit, workload by workload."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import docker

from tests.bench.cells import NO_WORSE, NOT_SLOWER, ROUNDS
from tests.bench.outcomes import BEST, BEST_PREFORK, Promise, best_of
from tests.bench.rivals import CPUS, KIT, KIT_THREADS, STOCK, THREADS, by_hand, dramatiq, taskiq
from tests.bench.trial import WARM_UP, WINDOW, Stage

if TYPE_CHECKING:
    from tests.bench.rivals import Contender
    from tests.bench.trial import Trial

LEARNING, LEARNING_SLOWLY = 20.0, 90.0
"""Seconds for which a worker that learns does such jobs, before it is started anew: it goes by a hundred of them."""
STARTS = 2
"""How often that is done at most, before it is measured: once only, if it chooses the same size again."""
USUAL = (by_hand("prefork", CPUS), by_hand("prefork", 16))
"""What people set without measuring: as many as CPUs, and what Airflow has as its default."""
SHORT = 64
"""Jobs fetched ahead that a hand tries for those that take no time."""


@dataclass(frozen=True)
class Workload:
    """One kind of jobs, and who does them."""

    name: str
    text: str
    load: str
    rivals: tuple[Contender, ...]
    """Who is measured in each round."""
    grid: tuple[Contender, ...]
    """The sizes that a hand tries: the best ones stay for the other rounds."""
    backlog: int
    """More jobs than anybody does while it is measured."""
    rate: float
    """Jobs a second that come while waiting is measured."""
    coming: int = 100
    """How many come so."""
    learning: float = LEARNING
    """Seconds for which who learns does such jobs."""
    window: float = WINDOW
    """Seconds for which what is done is counted."""
    broker: str = "redis"
    promises: tuple[Promise, ...] = field(default=())

    def measure(self) -> dict[str, Any]:
        """Measure everybody once, and those of interest again, each time in the other order."""
        began, load = time.monotonic(), os.getloadavg()[0]
        chosen: dict[str, str] = {}
        with Stage.of(self.broker) as stage:
            for contender in filter(lambda one: one.learns, self.rivals):
                learn(stage, contender, self.load, self.backlog, self.learning)
            rounds = [self.round(stage, [*self.rivals, *self.grid], chosen, waits=True)]
            best = self.best(rounds[0])
            again = [*self.rivals, *(contender for contender in self.grid if contender.name in best.values())]
            for number in range(1, ROUNDS):
                rounds.append(self.round(stage, again[::-1] if number % 2 else again, chosen, waits=False))
        return told(began, load, best, chosen, rounds)

    def round(
        self, stage: Stage, contenders: list[Contender], chosen: dict[str, str], *, waits: bool
    ) -> dict[str, dict[str, float]]:
        """Measure some contenders one after the other, and note in ``chosen`` what those that learn have chosen."""
        measured = {}
        for contender in contenders:
            with stage.trial(contender) as trial:
                measured[contender.name] = self.numbers(trial, waits=waits and contender in self.rivals)
                if contender.learns:
                    chosen[contender.name] = trial.chosen()
            say(f"{self.name}: {contender.name} {shown(measured[contender.name])}")
        return measured

    def numbers(self, trial: Trial, *, waits: bool) -> dict[str, float]:
        """Return what one contender does; who is killed by the kernel for want of memory does nothing."""
        try:
            trial.wait_ready()
            waited = trial.waits(self.load, self.coming, self.rate) if waits else {}
            trial.fill(self.load, self.backlog)
            time.sleep(WARM_UP)
            return {**waited, **trial.window(self.window), "OOM kills": trial.kills()}
        except (AssertionError, docker.errors.APIError):
            if not trial.kills():
                raise
            return {"jobs/s": 0.0, "OOM kills": trial.kills()}

    def best(self, measured: dict[str, dict[str, float]]) -> dict[str, str]:
        """Return the names of the best sizes that a hand has found."""
        names = [contender.name for contender in self.grid]
        processes = [name for name in names if name.startswith("prefork")]
        return {BEST: best_of(measured, names), BEST_PREFORK: best_of(measured, processes)}


def learn(stage: Stage, contender: Contender, load: str, backlog: int, seconds: float = LEARNING) -> None:
    """Let a worker do such jobs, end as at a deployment, and start anew with what it knows now."""
    chosen = ""
    for _ in range(STARTS):
        with stage.trial(contender) as trial:
            trial.wait_ready()
            if trial.chosen() == chosen:
                return
            chosen = trial.chosen()
            trial.fill(load, backlog)
            time.sleep(seconds)
            trial.stop()


def told(
    began: float, load: float, best: dict[str, str], chosen: dict[str, str], rounds: list[dict[str, dict[str, float]]]
) -> dict[str, Any]:
    """Return a cell's part of the record."""
    return {
        "date": datetime.now(timezone.utc).isoformat(),
        "load": load,
        "seconds": time.monotonic() - began,
        "best": best,
        "chosen": chosen,
        "rounds": rounds,
    }


def say(text: str) -> None:
    """Tell the viewer how far it is."""
    print(f"bench: {text}", flush=True)


def shown(values: dict[str, float]) -> str:
    """Return what was measured in a line."""
    return ", ".join(f"{value:.4g} {metric}" for metric, value in values.items())


def nothing_said() -> tuple[Promise, ...]:
    """Return what is promised to an app that has said nothing: processes, as many as are best."""
    return (
        Promise(
            "jobs, compared with the best processes set by hand", KIT.name, "jobs/s", BEST_PREFORK, at_least=NOT_SLOWER
        ),
        Promise("memory, compared with those", KIT.name, "PSS MB", BEST_PREFORK, at_most=NO_WORSE),
        Promise("jobs lost", KIT.name, "lost", at_most=0),
    )


def threads_allowed() -> tuple[Promise, ...]:
    """Return what is promised to an app that is said to be safe for threads."""
    return (
        Promise("jobs, compared with the best of all set by hand", THREADS, "jobs/s", BEST, NOT_SLOWER),
        Promise("memory, compared with that", THREADS, "PSS MB", BEST, at_most=NO_WORSE),
        Promise("jobs lost", THREADS, "lost", at_most=0),
    )


def against_stock() -> tuple[Promise, ...]:
    """Return what the right size is worth where jobs mostly wait."""
    return (
        Promise("jobs, compared with stock Celery", THREADS, "jobs/s", STOCK.name, at_least=10),
        Promise("memory, compared with stock Celery", THREADS, "PSS MB", STOCK.name, at_most=1),
    )


def against(rival: str, at_least: float) -> Promise:
    """Return what is promised beside another program."""
    return Promise(f"jobs, compared with {rival}", THREADS, "jobs/s", rival, at_least=at_least)


def tried(*contenders: Contender) -> tuple[Contender, ...]:
    """Return what people usually set and some more, each once: as many as CPUs may be any number."""
    return tuple({contender.name: contender for contender in (*USUAL, *contenders)}.values())


def processes(*numbers: int, prefetch: int = 1) -> tuple[Contender, ...]:
    """Return pools of so many processes."""
    return tuple(by_hand("prefork", number, prefetch=prefetch) for number in numbers)


def threads(number: int) -> tuple[Contender, ...]:
    """Return one process with so many threads, and two with half of them each."""
    return by_hand("threads", number), by_hand("threads", number // 2, 2)


NOTHING = "jobs that do nothing"
MIXED = "of 20 jobs 16 wait 50 to 500 ms, 4 use 20 ms of CPU"
BOTH_KITS = (STOCK, KIT, KIT_THREADS)
NOOPS = processes(4, 8, prefetch=SHORT)
WAITING = processes(32)

WORKLOADS = (
    Workload(
        "tuned-noop",
        NOTHING,
        "noop",
        (*BOTH_KITS, dramatiq()),
        tried(*NOOPS, by_hand("threads", 10, prefetch=SHORT), by_hand("threads", 10, 2, prefetch=SHORT)),
        backlog=100_000,
        rate=100,
        coming=300,
        promises=(*nothing_said(), *threads_allowed()),
    ),
    Workload(
        "tuned-cpu",
        "each job uses 20 ms of CPU",
        "cpu",
        (STOCK, KIT, dramatiq()),
        tried(*processes(4, 8)),
        backlog=1_500,
        rate=30,
        promises=nothing_said(),
    ),
    Workload(
        "tuned-wait",
        "each job waits 50 to 500 ms",
        "wait",
        (*BOTH_KITS, dramatiq(50), taskiq()),
        tried(*WAITING, by_hand("threads", 100), by_hand("threads", 200)),
        backlog=4_000,
        rate=25,
        promises=(*nothing_said(), *threads_allowed(), *against_stock()),
    ),
    Workload(
        "tuned-mixed",
        MIXED,
        "mixed",
        (*BOTH_KITS, dramatiq(50), taskiq()),
        tried(*WAITING, *threads(100), by_hand("threads", 25, 2)),
        backlog=5_000,
        rate=25,
        promises=(
            *nothing_said(),
            *threads_allowed(),
            *against_stock(),
            against("dramatiq", NOT_SLOWER),
            against("taskiq", 0.8),
        ),
    ),
    Workload(
        "tuned-memory",
        "each job fills 50 to 200 MB and holds them for 100 ms",
        "memory",
        (STOCK, KIT),
        tried(*processes(4, 8)),
        backlog=1_000,
        rate=8,
        coming=50,
        learning=2 * LEARNING,
        window=12.0,
        promises=nothing_said(),
    ),
    Workload(
        "tuned-longtail",
        "jobs wait 20 ms to 2.5 s, half of them less than 40 ms, one in 100 more than 1 s",
        "longtail",
        (STOCK, KIT),
        tried(*WAITING),
        backlog=10_000,
        rate=30,
        promises=nothing_said(),
    ),
    Workload(
        "tuned-noop-rabbitmq",
        f"{NOTHING}, by RabbitMQ",
        "noop",
        (STOCK, KIT, dramatiq()),
        tried(*NOOPS),
        backlog=60_000,
        rate=100,
        coming=300,
        broker="rabbitmq",
        promises=nothing_said(),
    ),
    Workload(
        "tuned-mixed-rabbitmq",
        f"{MIXED}; by RabbitMQ",
        "mixed",
        (*BOTH_KITS, dramatiq(50)),
        tried(*processes(32, 40), *threads(100)),
        backlog=5_000,
        rate=25,
        broker="rabbitmq",
        promises=(*nothing_said(), *threads_allowed(), *against_stock(), against("dramatiq", NOT_SLOWER)),
    ),
)
