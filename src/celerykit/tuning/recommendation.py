"""What ``celerykit tune`` proposes for a pool: a size with its reasons, and as variables of its env file."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from celerykit import onestep
from celerykit.config import envfile, environment
from celerykit.config.pool_kinds import PREFORK, SOLO, THREADS
from celerykit.errors import ConfigurationError, Finding
from celerykit.sizing import history, limits, model, parallelism, pool_size, queue_split
from celerykit.sizing.limits import Limit, Limits
from celerykit.sizing.model import DoesNotFitError, Plan, Profile, Terms
from celerykit.tuning import startup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from celerykit.process import Launch
    from celerykit.sizing.history import Jobs, Record
    from celerykit.sizing.queue_split import Part

POOL = "CELERY_WORKER_POOL"
WORTH = 1.1
"""How many times as many jobs a second a change must bring to be proposed: the estimate is no better."""


@dataclass(frozen=True)
class Size:
    """A plan, and what to expect of it."""

    plan: Plan
    rate: float | None
    """Jobs a second, if nothing else is short; None where nothing is known of them."""
    memory: float
    """Bytes, with all slots taken."""

    def __str__(self) -> str:
        rate = f"about {self.rate:.3g} jobs/s with " if self.rate else ""
        return f"{self.plan} ({rate}{model.megabytes(self.memory)})"


@dataclass(frozen=True)
class Advice:
    """What is proposed for one pool."""

    pool: str
    seen: str
    """The record or the runs that the advice rests on."""
    size: Size
    with_threads: Size | None
    """What it would be if the app were safe for threads, where that is worth asking."""
    tasks: Mapping[str, Jobs]
    parts: tuple[tuple[Part, Size], ...]
    """Queues that had better be apart, if there are several."""
    gain: str = ""
    """What queues of their own bring, in words."""

    def lines(self) -> Iterator[str]:
        """Yield all of it, as lines of an env file with comments."""
        yield f"# {self.seen}"
        for name, jobs in self.tasks.items():
            cpu = "unknown" if jobs.cpu is None else f"{jobs.cpu:.3g}"
            growth = "" if jobs.growth is None else f", {model.megabytes(jobs.growth)} more memory at most"
            queued = "" if jobs.queued_p95 is None else f", up to {jobs.queued_p95:.3g} s of 95 % in the queue"
            took = f"{jobs.jobs} jobs of {jobs.wall:.3g} s ({jobs.p95:.3g} s of 95 %), {cpu} s of CPU"
            yield f"# {name}: {took}{growth}{queued}"
        yield f"# {self.size}"
        for name, value in env(self.size.plan).items():
            yield f"# {self.size.plan.why(VARIABLES[name])}"
            yield f"{name}={value}"
        if self.size.plan.replicas > 1:
            yield f"# {self.size.plan.replicas} workers of this size: {self.size.plan.why('replicas')}"
        if self.with_threads:
            yield f"# if the app is safe for threads, CELERYKIT_POOL_KINDS=threads,prefork: {self.with_threads}"
        yield from self._apart()

    def _apart(self) -> Iterator[str]:
        if len(self.parts) < 2:
            return
        (usual, _), *others = self.parts
        yield f"# queues of their own for {' and '.join(WORDS[part.kind] for part, _ in others)}: {self.gain}"
        routes = {task: {"queue": f"{self.pool}-{part.kind}"} for part, _ in others for task in part.tasks}
        yield f"# task_routes = {routes}"
        for part, size in self.parts:
            pool = self.pool if part is usual else f"{self.pool}-{part.kind}"
            queues = {} if part is usual else {"CELERY_WORKER_QUEUES": pool}
            yield f"# {environment.env_file(pool)}, {size}:"
            yield from (f"#   {name}={value}" for name, value in {**queues, **env(size.plan)}.items())


VARIABLES = {
    POOL: "kind",
    "CELERY_WORKER_CONCURRENCY": "concurrency",
    "CELERY_WORKER_PREFETCH_MULTIPLIER": "prefetch",
    "CELERY_WORKER_MAX_MEMORY_PER_CHILD": "max_memory_per_child",
}
"""What fixes a plan, and the plan's name for it."""
WORDS = {"long": "long jobs", "cpu": "jobs that compute", "wait": "jobs that wait"}


def of_task(launch: Launch, app: Any, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], times: int) -> Advice:
    """Run a task of the app, and return what is best for a pool that has no other jobs.

    :raises ConfigurationError: if there is no such task, it fails, or not even one has room.
    """
    from celerykit.tuning import measurement

    process = startup.footprint()
    may_have_threads = THREADS in launch.settings.pool_kinds or _chosen(launch) == THREADS
    threads = math.ceil(_bounds(launch).cpus.value) if may_have_threads else 1
    found = measurement.run(app, task, args, kwargs, times, threads)
    known = found.jobs.profile(process, child=found.child, parallel=found.parallel)
    return _advise(launch, app, known, {task: found.jobs}, f"{times} runs of {task}")


def of_worker(launch: Launch, app: Any, sample: int, say: Callable[[str], None]) -> Advice:
    """Return what is best for a pool by what its worker has seen.

    :param sample: how many jobs to wait for.
    :param say: is told how far it is.
    :raises ConfigurationError: if not even one job has room, or what was seen cannot be read.
    """
    record = _sampled(launch, sample, say) if sample else launch.seen[0]
    process = startup.footprint()
    if record is None:
        return _advise(launch, app, Profile(process), {}, "nothing was seen of this pool's jobs yet")
    return _advise(launch, app, record.profile(process), record.tasks, startup.rests_on(launch, record, app))


def _sampled(launch: Launch, sample: int, say: Callable[[str], None]) -> Record:
    """Wait until the worker has kept what so many jobs did; it writes that down once a minute."""
    app, told = launch.environment.values["CELERY_APP"], -1
    while True:
        record = history.read(launch.profile_file, app)
        jobs = record.all.jobs if record else 0
        if record and jobs >= sample:
            return record
        if jobs != told:
            say(f"{jobs} of {sample} jobs")
            told = jobs
        time.sleep(1)


def _advise(launch: Launch, app: Any, known: Profile, tasks: Mapping[str, Jobs], seen: str) -> Advice:
    """Return what is best for a pool whose jobs do this.

    :raises ConfigurationError: if its memory has no room for a single job.
    """
    bounds = _bounds(launch)
    terms = Terms(launch.settings.pool_kinds, chosen=_chosen(launch))
    size = _size(bounds, known, terms, app)
    threads = None
    if not terms.chosen and THREADS not in terms.kinds and known.jobs:
        threads = _size(bounds, known, replace(terms, kinds=(THREADS, *terms.kinds)), app)
        if threads.plan.kind != THREADS or (threads.rate or 0) < WORTH * (size.rate or 0):
            threads = None
    parts = _parts(bounds, known, terms, app, tasks)
    gain = _gain(parts, size, bounds.cpus.value / max(known.cpu, 1e-6)) if len(parts) > 1 else ""
    return Advice(launch.pool, seen, size, threads, tasks, parts if gain else (), gain)


def env(plan: Plan) -> dict[str, str]:
    """Return the variables that fix a plan."""
    values = {name: getattr(plan, field) for name, field in VARIABLES.items()}
    return {name: str(value) for name, value in values.items() if value is not None}


def write(launch: Launch, plan: Plan) -> list[Path]:
    """Put the variables into the pool's env file in place of those that are there, and link one for each more worker.

    :returns: what was written or linked.
    :raises ConfigurationError: if the file cannot be written.
    """
    folder = environment.config_dir(launch.environment.values)
    target = folder / environment.env_file(launch.pool)
    links = [folder / environment.env_file(f"{launch.pool}-{number}") for number in range(2, plan.replicas + 1)]
    try:
        kept = target.read_text(encoding="utf-8").splitlines() if target.exists() else []
        kept = [line for line in kept if line.partition("=")[0] not in VARIABLES]
        _replace(target, "".join(f"{line}\n" for line in kept) + envfile.render(env(plan)))
        for link in links:
            if not link.exists():
                link.symlink_to(target.name)
    except OSError as exc:
        remedy = "Run it as the owner of that folder, or copy the lines above to where this worker's environment is"
        finding = Finding(target.name, "", str(folder), f"cannot be written: {exc.strerror}", remedy)
        raise ConfigurationError(finding) from exc
    return [target, *links]


def _replace(target: Path, text: str) -> None:
    """Write a file in one step, with its owner and rights if it has any."""
    actual = target.resolve()
    if not actual.exists():
        onestep.write(actual, text)
        return
    found = actual.stat()

    def rights(descriptor: int) -> None:
        os.fchmod(descriptor, found.st_mode)
        os.fchown(descriptor, found.st_uid, found.st_gid)

    onestep.write(actual, text, rights=rights)


def _bounds(launch: Launch) -> Limits:
    return limits.share(limits.read(), launch.pool, _weights(launch))


def _weights(launch: Launch) -> dict[str, float]:
    """Return the weights of the pools, where further workers of this one are no pools of their own."""
    folder = environment.config_dir(launch.environment.values)
    own = environment.pool_behind(folder, launch.pool)
    others = {
        name: weight for name, weight in startup.weights(launch).items() if environment.pool_behind(folder, name) != own
    }
    return {**others, launch.pool: launch.settings.weight}


def _chosen(launch: Launch) -> str:
    """Return the kind of pool that somebody has chosen, other than by an earlier ``--write``, nothing if nobody has."""
    kind = launch.environment.values.get(POOL, "")
    kind = startup.ALIASES.get(kind, kind)
    return "" if kind in launch.settings.pool_kinds else kind


def _size(bounds: Limits, known: Profile, terms: Terms, app: Any) -> Size:
    kind, _ = pool_size.kind_of_pool(bounds, known, terms)
    try:
        plan = pool_size.plan(bounds, known, replace(terms, connections=tuple(startup.connections(app.conf, kind))))
    except DoesNotFitError as exc:
        raise ConfigurationError(startup.too_little(exc)) from exc
    return Size(plan, _rate(plan, known, bounds.cpus), pool_size.memory_of(plan, known))


def _rate(plan: Plan, known: Profile, cpus: Limit) -> float | None:
    """Return how many jobs a second a plan can do: by its slots, and by the CPUs that its processes can use."""
    if not known.jobs or not known.wall:
        return None
    used = cpus.value if plan.kind == PREFORK else min(cpus.value, plan.replicas * known.parallel)
    slots = plan.replicas * (1 if plan.kind == SOLO else plan.concurrency)
    cpu = known.cpu + (parallelism.HANDED_OVER if plan.kind == PREFORK else 0.0)
    return min(slots / known.wall, used / max(cpu, 1e-6))


def _parts(
    bounds: Limits, known: Profile, terms: Terms, app: Any, tasks: Mapping[str, Jobs]
) -> tuple[tuple[Part, Size], ...]:
    """Return the queues that had better be apart, each with its part of the memory."""
    found = queue_split.parts(tasks)
    if len(found) < 2:
        return ()
    room = replace(bounds, memory=replace(bounds.memory, value=bounds.memory.value / len(found)))
    sized = []
    for part in found:
        of_part = part.jobs.profile(known.process, child=known.child, parallel=known.parallel)
        sized.append((part, _size(room, of_part, terms, app)))
    return tuple(sized)


def _gain(parts: tuple[tuple[Part, Size], ...], now: Size, most: float) -> str:
    """Return what queues of their own bring, nothing if it is not worth them.

    :param most: jobs a second for which there are CPUs.
    """
    long = [part.jobs for part, _ in parts if part.kind == "long"]
    if long:
        others = max(part.jobs.p95 for part, _ in parts if part.kind != "long")
        return f"those of up to {others:.3g} s wait no longer behind those of {long[0].p50:.3g} s"
    number = sum(part.jobs.jobs for part, _ in parts)
    # Of a mix, all parts are done at the pace of the one that is the slowest for its number.
    rate = min(most, *((size.rate or 0.0) * number / part.jobs.jobs for part, size in parts))
    if not now.rate or rate < WORTH * now.rate:
        return ""
    memory = sum(size.memory for _, size in parts)
    return f"about {rate:.3g} jobs/s with {model.megabytes(memory)} in all, instead of {now.rate:.3g}"
