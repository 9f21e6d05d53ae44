"""The cells of what a size set once is wrong for: jobs that change, and jobs that need more memory than there is."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import docker

from tests.bench.outcomes import BEST, BEST_PREFORK, Promise, best_of, recovered
from tests.bench.rivals import KIT, KIT_THREADS, STOCK, THREADS
from tests.bench.sizes import CPUS, LEARNING_SLOWLY, MIXED, learn, processes, say, shown, threads, told
from tests.bench.trial import BACKLOG, WARM_UP, WINDOW, Stage

if TYPE_CHECKING:
    from tests.bench.rivals import Contender
    from tests.bench.trial import Trial

RECOVERY = "s to within 10 %"
HORIZON = 70.0
"""Seconds after a change for which it is watched: more than within which it is to be answered."""
SETTLED = 10.0
"""The last seconds of them, in which whoever answers has done so."""
CHANGED = BACKLOG + 500_000
"""Where the numbers of the jobs after the change begin."""
SHORT_OF_MEMORY = 600.0
"""Seconds."""
KILLS = "OOM kills"


@dataclass(frozen=True)
class Change:
    """Jobs that use CPU, and then mixed ones: what was best at first is wrong by far afterwards."""

    name: str = "tuned-change"
    text: str = (
        f"first each job uses 20 ms of CPU, then {MIXED}; who says in its log that another start would serve its jobs "
        "is started anew"
    )
    promises: tuple[Promise, ...] = (
        Promise("seconds to within 10 % of the best processes set by hand", KIT.name, RECOVERY, at_most=60),
        Promise("seconds to within 10 % of the best of all set by hand", THREADS, RECOVERY, at_most=60),
    )

    def measure(self) -> dict[str, Any]:
        """Measure sizes that are right after the change, then who starts with what was right before it."""
        began, load = time.monotonic(), os.getloadavg()[0]
        with Stage.of("redis") as stage:
            sizes = (*processes(16, 32), *threads(100))
            rates = {contender.name: self.steady(stage, contender) for contender in sizes}
            best = {
                BEST: best_of(rates, list(rates)),
                BEST_PREFORK: best_of(rates, [name for name in rates if name.startswith("prefork")]),
            }
            measured = {**rates, STOCK.name: self.steady(stage, STOCK)}
            chosen: dict[str, str] = {}
            for contender, base in ((KIT, BEST_PREFORK), (KIT_THREADS, BEST)):
                measured[contender.name] = self.changed(stage, contender, rates[best[base]]["jobs/s"], chosen)
        for name, values in measured.items():
            say(f"{self.name}: {name} {shown(values)}")
        return told(began, load, best, chosen, [measured])

    def steady(self, stage: Stage, contender: Contender) -> dict[str, float]:
        """Return what a size does with the jobs after the change."""
        with stage.trial(contender) as trial:
            trial.wait_ready()
            trial.fill("mixed", 6_000)
            time.sleep(WARM_UP)
            return trial.window(WINDOW)

    def changed(self, stage: Stage, contender: Contender, best: float, chosen: dict[str, str]) -> dict[str, float]:
        """Return how long a worker that knows the first jobs alone takes for the others."""
        learn(stage, contender, "cpu", 2_000)
        with stage.trial(contender) as trial:
            trial.wait_ready()
            trial.fill("cpu", 400)
            trial.fill("mixed", int(HORIZON * best) + 1_000, CHANGED)
            change = self.change(trial)
            self.heed(trial, change + HORIZON - SETTLED)
            settled = trial.window(SETTLED)
            chosen[contender.name] = trial.chosen()
            ends = [note.ended for note in trial.notes(BACKLOG) if note.number >= CHANGED]
            return {**settled, RECOVERY: recovered(ends, change, best, HORIZON)}

    def change(self, trial: Trial) -> float:
        """Wait for the first of the other jobs to be done, and return when one began."""
        give_up = time.monotonic() + 120
        while not (others := [note.began for note in trial.notes(BACKLOG) if note.number >= CHANGED]):
            assert time.monotonic() < give_up, trial.process.logs[-4000:]
            time.sleep(0.2)
        return min(others)

    def heed(self, trial: Trial, ends: float) -> None:
        """Start it anew whenever it says that this would serve its jobs, until then (seconds since the epoch)."""
        while time.time() < ends:
            if trial.is_advised():
                say(f"{self.name}: {trial.contender.name} is restarted, as it advised; had chosen {trial.chosen()}")
                trial.restart()
            time.sleep(1)


@dataclass(frozen=True)
class Shortage:
    """Jobs of 200 MB in 512 MB, for ten minutes: stock Celery and the kit at once, each with a broker of its own."""

    name: str = "tuned-512mb"
    text: str = "jobs of 200 MB in an app of 100 MB, in a container of 512 MB, for 10 minutes; side by side"
    promises: tuple[Promise, ...] = (
        Promise("processes killed for want of memory", KIT.name, KILLS, at_most=0),
        Promise("jobs lost", KIT.name, "lost", at_most=0),
        Promise("jobs given up", KIT.name, "dead letters", at_most=0),
        Promise("processes of stock Celery killed for want of memory", STOCK.name, KILLS, at_least=2),
    )

    def measure(self) -> dict[str, Any]:
        """Let both work at the same time: it takes long, and no rate is compared."""
        began, load = time.monotonic(), os.getloadavg()[0]
        large = {"CELERY_APP": "on_celery_large"}
        stock = replace(STOCK, command=("--app", "on_celery_large", "worker", "--concurrency", str(max(2, CPUS))))
        kit = replace(KIT, environment=large)
        with ThreadPoolExecutor() as both:
            measured = dict(zip((STOCK.name, KIT.name), both.map(self.endure, (stock, kit)), strict=True))
        for name, values in measured.items():
            say(f"{self.name}: {name} {shown(values)}")
        return told(began, load, {}, {}, [measured])

    def endure(self, contender: Contender) -> dict[str, float]:
        """Return what one of them goes through."""
        with Stage.of("redis") as stage:
            learnt = self.work(stage, contender, LEARNING_SLOWLY)[KILLS] if contender.learns else 0.0
            return {**self.work(stage, contender, SHORT_OF_MEMORY), "OOM kills while it learnt": learnt}

    def work(self, stage: Stage, contender: Contender, seconds: float) -> dict[str, float]:
        """Keep some jobs waiting for so long, let them come to an end, and count."""
        options = {"mem_limit": "512m", "memswap_limit": "512m", "restart": True}
        with stage.trial(contender, **options) as trial, Kills(trial) as kills:
            trial.wait_ready()
            ends, sent = time.monotonic() + seconds, 0
            while time.monotonic() < ends:
                if stage.rig.client.queued() < 5:
                    trial.send("large", BACKLOG + sent, 10)
                    sent += 10
                time.sleep(1)
            done = self.rest(stage, trial)
            trial.stop()
            letters = len(stage.rig.client.dead_letters())
            lost = {"lost": sent - done - letters, "dead letters": letters}
            return {"jobs/s": done / seconds, **lost, KILLS: kills.seen, "PSS MB": trial.peak()}

    def rest(self, stage: Stage, trial: Trial, patience: float = 20.0, most: float = 180.0) -> int:
        """Wait until nothing is done any more, for ``most`` seconds at most, and return how many jobs were."""
        done, last, ends = -1, time.monotonic(), time.monotonic() + most
        while time.monotonic() < min(last + patience, ends):
            now = len({note.number for note in trial.notes(BACKLOG)})
            if now > done or stage.rig.client.queued():
                done, last = now, time.monotonic()
            time.sleep(1)
        return done


class Kills:
    """Count what the kernel kills in a container, which may be started again and then counts anew."""

    def __init__(self, trial: Trial):
        self.seen = 0
        self._trial = trial
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count)

    def __enter__(self) -> Kills:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _count(self) -> None:
        before, restarts = 0, 0
        while not self._ended.wait(1):
            again = self._trial.process.restarts
            if again > restarts:
                self.seen, before, restarts = self.seen + again - restarts, 0, again
            elif self._trial.process.state["Running"]:
                with contextlib.suppress(AssertionError, docker.errors.APIError):  # it ends at this moment
                    now = self._trial.kills()
                    self.seen, before = self.seen + max(0, now - before), now


CELLS = (Change(), Shortage())
