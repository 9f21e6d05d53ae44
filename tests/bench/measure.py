"""The measurements: one side, in containers of its own, from an empty broker to numbers."""

from __future__ import annotations

import json
import statistics
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.rig.containers import Rig
from tests.rig.process import Process
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.bench.results import Round

INSIDE = Path(__file__).parent / "inside"
WARM_UP = 1.0
WINDOW = 3.0
"""Seconds over which a rate is taken."""
FLEET = 50
SETTLED = 10_000
"""Jobs after which a worker has all that it needs for any."""


@dataclass(frozen=True)
class Side:
    """One of the things compared: the kit's image with an environment."""

    name: str
    environment: Mapping[str, str]


class Scene:
    """An empty broker, and workers and scripts of one side."""

    def __init__(self, rig: Rig, side: Side, broker: Callable[[Rig], Any]):
        self.rig = rig
        self.broker: Process = broker(rig)
        self._side = side
        self._client = self._run(["-c", "import time; time.sleep(3600)"])

    @classmethod
    @contextmanager
    def of(cls, side: Side, broker: Callable[[Rig], Any] = Rig.redis) -> Iterator[Scene]:
        """Set it up, and remove all of it afterwards."""
        with Rig.in_memory() as rig:
            rig.app = str(INSIDE)
            yield cls(rig, side, broker)

    def worker(self, pool_class: str, concurrency: int, **options: Any) -> Process:
        """Start a worker of the side, and wait until it consumes."""
        told = {**self._side.environment, "CELERYKIT_LONGEST_JOB": "600", **options}
        return self.rig.worker(pool_class, "celerykit_bench", CELERY_WORKER_CONCURRENCY=concurrency, **told)

    def fleet(self, number: int) -> Process:
        """Start so many solo workers in one container, and wait until they all consume."""
        process = self._run(["/app/fleet.py", str(number)])
        ready = f"for n in $(seq 0 {number - 1}); do celerykit probe worker pool$n --ready || exit 1; done"
        until(lambda: process.container.exec_run(["sh", "-c", ready]).exit_code == 0, 180, lambda: process.logs[-3000:])
        return process

    def publish(self, task: str, count: int, **options: Any) -> None:
        """Send jobs by the script inside."""
        self.script("publish", json.dumps({"task": task, "count": count, **options}))

    def script(self, name: str, *arguments: object) -> str:
        """Run a script inside and return its output."""
        command = ["python", f"/app/{name}.py", *map(str, arguments)]
        code, output = self._client.container.exec_run(command, demux=True)
        assert code == 0, f"{name} ended with {code}: {output}"
        return (output[0] or b"").decode()

    def notes(self) -> list[list[float]]:
        """Return what the jobs have noted, a list of numbers a job."""
        file = self.rig.ledger.folder / "notes"
        lines = file.read_text().splitlines() if file.exists() else []
        return [[float(number) for number in line.split()] for line in lines]

    def left(self, queues: Sequence[str]) -> int:
        """Return how many jobs are not done yet."""
        with self.rig.client.app.connection_for_read() as connection:
            redis = connection.default_channel.client
            return sum(redis.llen(queue) for queue in queues) + int(redis.hlen("unacked"))

    def broker_seconds(self) -> float:
        """Return the CPU seconds that the broker has used."""
        return cpu_seconds(self.broker)

    def _run(self, arguments: Sequence[str]) -> Process:
        environment = {"CELERY_WORKER_POOL": "solo", **self._side.environment}
        return self.rig.celery(arguments, "celerykit_bench", environment, entrypoint=["python"])


def bare(side: Side, prefetch: int, backlog: int = 250_000) -> dict[str, float]:
    """Return what kombu alone fetches and acknowledges a second."""
    with Scene.of(side) as scene:
        scene.publish("bench.nothing", backlog)
        told = json.loads(scene.script("consume", prefetch, WINDOW))
        assert scene.left(["celery"]), "the backlog was too small for this machine"
        return {"messages/s": told["acknowledged"] / told["seconds"]}


def rate(
    side: Side, pool_class: str, concurrency: int = 1, prefetch: int = 4, backlog: int = 80_000, queues: int = 1
) -> dict[str, float]:
    """Return what a worker does a second of jobs that do nothing, and what each costs the broker."""
    names = queue_names(queues)
    with Scene.of(side) as scene:
        scene.publish("bench.nothing", backlog, queues=names)
        scene.worker(
            pool_class,
            concurrency,
            CELERY_WORKER_PREFETCH_MULTIPLIER=prefetch,
            CELERY_WORKER_QUEUES=",".join(names),
        )
        time.sleep(WARM_UP)
        return window(scene, names)


def cost(sides: Sequence[Side], pool_class: str, turns: int = 8, jobs: int = 4_000) -> Round:
    """Return the CPU time of a worker's processes for each of a backlog of jobs that do nothing.

    What is looked for is a hundredth, and the machine's speed changes by more from minute to minute. So a worker of
    each side works for a second or two, the other one stopped meanwhile, in turns.
    """
    with ExitStack() as stack:
        scenes = [stack.enter_context(Scene.of(side)) for side in sides]
        workers = [scene.worker(pool_class, 2, CELERY_WORKER_PREFETCH_MULTIPLIER=4) for scene in scenes]
        for scene, worker in zip(scenes, workers, strict=True):
            worker.signal("SIGSTOP")
            scene.publish("bench.nothing", (turns + 1) * jobs)
        spent = [0.0] * len(sides)
        for turn in range(turns):
            for side in range(len(sides)) if turn % 2 == 0 else reversed(range(len(sides))):
                spent[side] += _turn(scenes[side], workers[side], (turns - turn) * jobs) / turns
        return {side.name: {"worker us/job": seconds * 1e6} for side, seconds in zip(sides, spent, strict=True)}


def _turn(scene: Scene, worker: Process, until_left: int) -> float:
    """Let a worker go on until so many jobs are left, and return the CPU seconds that each of those done has cost."""
    before, left = cpu_seconds(worker), scene.left(["celery"])
    worker.signal("SIGCONT")
    until(lambda: scene.left(["celery"]) <= until_left, 120, "a smaller backlog", pause=0.1)
    worker.signal("SIGSTOP")
    return (cpu_seconds(worker) - before) / (left - scene.left(["celery"]))


def cpu_seconds(process: Process) -> float:
    """Return the CPU seconds that all threads of all processes of a container have used."""
    threads = process.sh("cat /proc/[0-9]*/task/*/schedstat").splitlines()
    return sum(int(line.split()[0]) for line in threads) / 1e9


def window(scene: Scene, queues: Sequence[str]) -> dict[str, float]:
    """Return the rate over a few seconds of a backlog that is being worked off."""
    cost, began, before = scene.broker_seconds(), time.monotonic(), scene.left(queues)
    time.sleep(WINDOW)
    after, ended = scene.left(queues), time.monotonic()
    cost = scene.broker_seconds() - cost
    assert after, "the backlog was too small for this machine"
    return {"jobs/s": (before - after) / (ended - began), "broker us/job": cost * 1e6 / (before - after)}


def drained(side: Side, size: int, count: int) -> dict[str, float]:
    """Return how many jobs with a large body a solo worker does a second, from the first to the last."""
    with Scene.of(side) as scene:
        worker = scene.worker("solo", 1, CELERY_WORKER_PREFETCH_MULTIPLIER=4)
        worker.signal("SIGSTOP")
        scene.publish("bench.nothing", count, size=size)
        began = time.monotonic()
        worker.signal("SIGCONT")
        until(lambda: not scene.left(["celery"]), 60, "an empty broker", pause=0.05)
        return {"jobs/s": count / (time.monotonic() - began)}


def shared(side: Side, seconds: float, count: int) -> dict[str, float]:
    """Return how many waiting jobs two idle workers with two slots each do a second, once those jobs come."""
    with Scene.of(side) as scene:
        for _ in range(2):
            scene.worker("threads", 2, CELERY_WORKER_PREFETCH_MULTIPLIER=4)
        scene.publish("bench.wait", count, arguments=[seconds])
        until(lambda: len(scene.notes()) == count, 60 + count * seconds, "all jobs done")
        return {"jobs/s": count / (max(end for _, end in scene.notes()) - min(start for start, _ in scene.notes()))}


def latency(side: Side, queues: int, count: int = 1500, pause: float = 0.005) -> dict[str, float]:
    """Return how long an idle worker takes to start a job, in milliseconds."""
    names = queue_names(queues)
    with Scene.of(side) as scene:
        scene.worker("solo", 1, CELERY_WORKER_QUEUES=",".join(names))
        scene.publish("bench.latency", count, queues=names, pause=pause)
        until(lambda: len(scene.notes()) == count, 30, "all jobs done")
        cuts = statistics.quantiles((seconds * 1000 for (seconds,) in scene.notes()), n=100)
        return {"p50 ms": cuts[49], "p99 ms": cuts[98]}


def later(side: Side, count: int = 100_000, rate: float = 1_000.0) -> dict[str, float]:
    """Return what jobs whose time is to come cost two solo workers, and how late they are when they are due.

    The memory is that of the worker that takes more, from before the jobs are sent until just before the first is due.
    """
    with Scene.of(side) as scene:
        workers = [scene.worker("solo", 1) for _ in range(2)]
        time.sleep(WARM_UP)
        before = [memory(worker) for worker in workers]
        first = time.time() + 60 + count / 1_000
        scene.publish("bench.late", count, first=first, rate=rate)
        until(lambda: not scene.rig.client.queued(), first - time.time(), "all jobs fetched once", pause=0.5)
        taken = time.time()
        time.sleep(max(0.0, first - taken - 1))
        more = max(memory(worker) - least for worker, least in zip(workers, before, strict=True))
        until(lambda: len(scene.notes()) == count, 60 + count / rate, "all jobs done", pause=1.0)
        cuts = statistics.quantiles((began - due for _, due, began in scene.notes()), n=100)
        return {"MB more": more / 1e6, "p50 s late": cuts[49], "p99 s late": cuts[98]}


def grown(
    side: Side, pool_class: str, count: int, task: str = "bench.nothing", longest: str = "600"
) -> dict[str, float]:
    """Return the MB that the process of a worker that grows most has more after so many jobs than at their start.

    :param longest: the time limit of each job in seconds, for which prefork keeps a timer; nothing for no limit.
    """
    with Scene.of(side) as scene:
        scene.publish(task, count)
        worker = scene.worker(pool_class, 2, CELERY_WORKER_PREFETCH_MULTIPLIER=4, CELERYKIT_LONGEST_JOB=longest)
        until(lambda: scene.left(["celery"]) < count - SETTLED, 300, "the first jobs done")
        before = resident(worker)
        until(lambda: not scene.left(["celery"]), 60 + count / 50, "all jobs done", pause=1.0)
        after = resident(worker)
        return {"MB more": max(after[pid] - size for pid, size in before.items() if pid in after) / 1e6}


def resident(process: Process) -> dict[str, int]:
    """Return the bytes of memory that each process of a container has, by its number there."""
    lines = process.sh("grep -H ^VmRSS: /proc/[0-9]*/status 2>/dev/null").splitlines()
    return {line.split("/")[2]: int(line.split()[1]) * 1024 for line in lines}


def memory(process: Process) -> int:
    """Return the bytes of memory that the processes of a container have of their own, or their part of."""
    lines = process.sh("cat /proc/[0-9]*/smaps_rollup 2>/dev/null | grep ^Pss:").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines)


def idle(side: Side, seconds: float = 6.0, pause: float = 0.02) -> dict[str, float]:
    """Return what many idle workers cost the broker, while nothing comes and while a few jobs come."""
    jobs = int(seconds / pause)
    with Scene.of(side) as scene:
        scene.fleet(FLEET)
        time.sleep(WARM_UP)
        before, began = scene.broker_seconds(), time.monotonic()
        time.sleep(seconds)
        resting, rested = scene.broker_seconds(), time.monotonic()
        scene.publish("bench.latency", jobs, pause=pause)
        until(lambda: len(scene.notes()) == jobs, 30, "all jobs done")
        busy = scene.broker_seconds() - resting
        return {"broker ms/idle s": (resting - before) * 1e3 / (rested - began), "broker us/job": busy * 1e6 / jobs}


def start(side: Side, pool_class: str) -> dict[str, float]:
    """Return how long a worker takes until it consumes, how long the imports of Celery's take, and what is beyond."""
    with Scene.of(side) as scene:
        told = json.loads(scene.script("start", side.name, pool_class))
        beyond = told["ready"] - told["imports"]
        return {"ready s": told["ready"], "imports s": told["imports"], "s beyond imports": beyond}


def queue_names(number: int) -> list[str]:
    """Return the names of so many queues."""
    return ["celery", *(f"celery{other}" for other in range(1, number))]
