"""Who is compared: Celery as it comes, the kit, the kit with a size set by hand, and other programs for jobs."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import docker

from tests.rig.containers import CELERY_IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

RIVALS_IMAGE = "celerykit/rivals"
CPUS = len(os.sched_getaffinity(0))
AT_ONCE = 100
"""How many jobs at once the other programs may run where jobs wait, and what a hand sets there."""
THREADS = "kit, threads allowed"
ASK = (
    "from importlib.metadata import version; import json; "
    "print(json.dumps({name: version(name) for name in ('dramatiq', 'taskiq', 'taskiq-redis')}))"
)


AS_MANY_AS_ARE_BEST = """
mkdir -p "$CELERYKIT_CONFIG_DIR" && cd "$CELERYKIT_CONFIG_DIR" && : >worker-default.env
trap 'kill $workers; wait' TERM
for number in $(seq 2 "$(celerykit tune --replicas)"); do
  ln -s worker-default.env "worker-default-$number.env"
done
for file in worker-*.env; do name=${file#worker-}; celerykit worker "${name%.env}" & workers="$workers $!"; done
wait
"""
"""What ``replicas: auto`` does on a host."""


@dataclass(frozen=True)
class Contender:
    """One way to run the jobs: a container with a command and an environment."""

    name: str
    library: str = "celery"
    """Whose messages it takes."""
    entrypoint: tuple[str, ...] = ("celerykit",)
    command: tuple[str, ...] = ("worker",)
    environment: Mapping[str, str] = field(default_factory=dict)
    learns: bool = False
    """Whether it is given a while with the jobs, and a restart, before it is measured."""
    foreign: bool = False
    """Whether nothing of the kit has a part in it, so that it has a virtual host of its own in RabbitMQ."""

    @property
    def image(self) -> str:
        """The image that has the program."""
        return CELERY_IMAGE if self.library == "celery" else RIVALS_IMAGE


STOCK = Contender("stock", entrypoint=("celery",), command=("--app", "on_celery", "worker"), foreign=True)
KIT = Contender("kit", learns=True)
KIT_THREADS = Contender(
    THREADS,
    entrypoint=("sh", "-c"),
    command=(AS_MANY_AS_ARE_BEST,),
    environment={"CELERYKIT_POOL_KINDS": "threads,prefork", "CELERYKIT_CONFIG_DIR": "/tmp/etc"},
    learns=True,
)


def by_hand(pool: str, concurrency: int, processes: int = 1, prefetch: int = 1) -> Contender:
    """Return the kit with a size that somebody has set, and nothing tuned."""
    many, ahead = f"{processes} x " if processes > 1 else "", f", prefetch {prefetch}" if prefetch > 1 else ""
    environment = {
        "CELERYKIT_TUNE": "off",
        "CELERY_WORKER_POOL": pool,
        "CELERY_WORKER_CONCURRENCY": str(concurrency),
        "CELERY_WORKER_PREFETCH_MULTIPLIER": str(prefetch),
    }
    start = " & ".join(f"celerykit worker hand{number}" for number in range(processes))
    several = {"entrypoint": ("sh", "-c"), "command": (f"{start} & wait",)} if processes > 1 else {}
    return Contender(f"{many}{pool} {concurrency}{ahead}", environment=environment, **several)


def dramatiq(threads: int = 8) -> Contender:
    """Return dramatiq: a process a CPU and 8 threads each are its defaults, more threads its advice where jobs wait."""
    command = ("--processes", str(CPUS), "--threads", str(threads), "on_dramatiq")
    return Contender("dramatiq", "dramatiq", ("dramatiq",), command, foreign=True)


def taskiq(jobs: int = AT_ONCE // 2) -> Contender:
    """Return taskiq: a process a CPU, so many coroutines each."""
    command = ("worker", "on_taskiq:broker", "--workers", str(CPUS), "--max-async-tasks", str(jobs))
    return Contender("taskiq", "taskiq", ("taskiq",), command, foreign=True)


def versions() -> dict[str, str]:
    """Return what the image of the other programs holds."""
    told = docker.from_env().containers.run(RIVALS_IMAGE, ["-c", ASK], entrypoint="python", remove=True)
    return dict(json.loads(told))
