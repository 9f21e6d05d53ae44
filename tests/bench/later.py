"""What jobs with an ETA cost two workers, and how late they begin, while a worker and the broker are killed.

``python -m tests.bench.later [BROKER] [JOBS] [RATE]`` prints the figures; needs the images of ``make test``. RATE jobs
are due a second. A third of the way one worker is killed and started again, and so is the broker at the second third.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from tests.bench.cells import KIT, STOCK
from tests.bench.measure import WARM_UP, Scene, memory
from tests.rig.containers import Rig
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.bench.measure import Side
    from tests.rig.process import Process

BROKERS: Mapping[str, tuple[Side, Callable[[Rig], Any]]] = {
    "redis": (KIT, Rig.redis),
    "rabbitmq": (KIT, Rig.rabbitmq),
    "pgmq": (KIT, Rig.pgmq),
    "stock": (STOCK, Rig.redis),
}
"""The last is Redis by Kombu's own transport."""
COPIED, SENT = 250.0, 12.0
"""Jobs a second that even a busy machine sends and puts off: as copies of one message, and one by one."""
SOON = 1.0
"""Seconds within which a job is to begin."""
PARTS = ("nothing killed", "a worker killed", "the broker killed")


def measure(broker: str, jobs: int, rate: float) -> Iterator[str]:
    """Let so many jobs wait and be due, and say what that has cost, how late they were, and which began twice."""
    side, start = BROKERS[broker]
    with Scene.of(side, start) as scene:
        workers = [scene.worker("solo", 1) for _ in range(2)]
        time.sleep(WARM_UP)
        before = [memory(worker) for worker in workers]
        first = send(scene, jobs, rate)
        until(lambda: not scene.rig.client.queued(), first - time.time(), "all jobs sent and put off", pause=0.5)
        time.sleep(max(0.0, first - time.time() - 1))
        more = max(memory(worker) - least for worker, least in zip(workers, before, strict=True))
        yield f"{jobs} jobs on {broker}: {more / 1e6:.1f} MB more in a worker while they wait"
        third = jobs / rate / 3
        begins = [first, first + third, first + 2 * third]
        for process, when in zip((workers[0], scene.broker), begins[1:], strict=True):
            kill_and_start(process, when)
        until(lambda: done(scene) == jobs, 300 + jobs / rate, lambda: f"all done, {jobs - done(scene)} left", pause=1.0)
        notes = scene.notes()
        for name, begin in zip(PARTS, begins, strict=True):
            late = [(due, began - due) for _, due, began in notes if begin <= due < begin + third]
            yield f"{name}: {lateness(late, begin)}"
        yield f"0 lost; began twice: {', '.join(twice(notes, begins)) or 'none'}"


def send(scene: Scene, jobs: int, rate: float) -> float:
    """Send the jobs, on Redis as copies of one message, and return when the first of them is due."""
    copies = scene.rig.broker_url.startswith("redis://")
    first = time.time() + 30 + jobs / (COPIED if copies else SENT)
    if copies:
        scene.publish("bench.late", jobs, first=first, rate=rate)
    else:
        scene.script("send_later", jobs, first, rate)
    return first


def kill_and_start(process: Process, when: float) -> None:
    """Kill a process at a time, and start it again at once."""
    time.sleep(max(0.0, when - time.time()))
    process.kill()
    process.start()


def done(scene: Scene) -> int:
    """Return how many jobs have begun."""
    return len({note[0] for note in scene.notes()})


def lateness(late: Sequence[tuple[float, float]], begin: float) -> str:
    """Say how late jobs were.

    :param late: for each, when it was due, and how many seconds later it began.
    :param begin: when the first of them was due.
    """
    cuts = statistics.quantiles((seconds for _, seconds in late), n=100)
    behind = max((due - begin for due, seconds in late if seconds > SOON), default=0.0)
    most = max(seconds for _, seconds in late)
    told = f"p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s, at most {most:.2f} s late"
    return f"{told}; those due {behind:.1f} s after its begin, or later, are all within {SOON:g} s"


def twice(notes: Sequence[Sequence[float]], begins: Sequence[float]) -> Iterator[str]:
    """Yield how many jobs began once more in each part, and how long after its begin the last of them did."""
    seen: set[float] = set()
    again: dict[str, list[float]] = {}
    for number, _, began in notes:
        if number in seen:
            part = max(place for place, begin in enumerate(begins) if place == 0 or begin <= began)
            again.setdefault(PARTS[part], []).append(began - begins[part])
        seen.add(number)
    for name, seconds in again.items():
        yield f"{len(seconds)} with {name}, up to {max(seconds):.1f} s after"


def main() -> int:
    """Measure on one broker, and return 2 if there is no such one."""
    broker, jobs, rate = (*sys.argv[1:], *("redis", "100000", "1000")[len(sys.argv) - 1 :])
    if broker not in BROKERS:
        print(f"error: there is no broker {broker}\nremedy: take one of {', '.join(BROKERS)}", file=sys.stderr)
        return 2
    for line in measure(broker, int(jobs), float(rate)):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
