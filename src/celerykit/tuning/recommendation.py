"""The proposal of ``celerykit tune`` for a pool: a size with its reasons, and the variables of its env file."""

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
"""The factor by which a change must raise the jobs a second to be proposed: the estimate is no more exact."""


@dataclass(frozen=True)
class Size:
    """A plan with its estimated throughput and memory."""

    plan: Plan
    rate: float | None
    """Jobs a second, if only slots and CPUs bound them; None if no job was measured."""
    memory: float
    """Memory in bytes, with all slots taken."""

    def __str__(self) -> str:
        rate = f"about {self.rate:.3g} jobs/s with " if self.rate else ""
        return f"{self.plan} ({rate}{model.megabytes(self.memory)})"


@dataclass(frozen=True)
class Advice:
    """The proposal for one pool."""

    pool: str
    seen: str
    """A description of the record or the runs behind the proposal."""
    size: Size
    with_threads: Size | None
    """The size for an app that is safe for threads, None where threads would bring too little."""
    tasks: Mapping[str, Jobs]
    parts: tuple[tuple[Part, Size], ...]
    """Proposed queues, if there are several."""
    gain: str = ""
    """The benefit of separate queues, in words."""

    def lines(self) -> Iterator[str]:
        """Yield the proposal as lines of an env file with comments."""
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
"""The variables that fix a plan, each with its field of :class:`~celerykit.sizing.model.Plan`."""
WORDS = {"long": "long jobs", "cpu": "jobs that compute", "wait": "jobs that wait"}


def of_task(launch: Launch, app: Any, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], times: int) -> Advice:
    """Run a task of the app, and return the best size for a pool without other jobs.

    :raises ConfigurationError: if there is no such task, the task fails, or the memory has no room for a single job.
    """
    from celerykit.tuning import measurement

    process = startup.footprint()
    may_have_threads = THREADS in launch.settings.pool_kinds or _chosen(launch) == THREADS
    threads = math.ceil(_bounds(launch).cpus.value) if may_have_threads else 1
    measured = measurement.run(app, task, args, kwargs, times, threads)
    profile = measured.jobs.profile(process, child=measured.child, parallel=measured.parallel)
    return _advise(launch, app, profile, {task: measured.jobs}, f"{times} runs of {task}")


def of_worker(launch: Launch, app: Any, sample: int, say: Callable[[str], None]) -> Advice:
    """Return the best size for a pool by its worker's record.

    :param sample: the number of jobs to wait for.
    :param say: receives lines of progress.
    :raises ConfigurationError: if the memory has no room for a single job, or the record is not readable.
    """
    record = _sampled(launch, sample, say) if sample else launch.seen[0]
    process = startup.footprint()
    if record is None:
        return _advise(launch, app, Profile(process), {}, "nothing was seen of this pool's jobs yet")
    return _advise(launch, app, record.profile(process), record.tasks, startup.describe_record(launch, record, app))


def _sampled(launch: Launch, sample: int, say: Callable[[str], None]) -> Record:
    """Wait until the worker's record holds ``sample`` jobs; the worker writes it once a minute."""
    app, reported = launch.environment.values["CELERY_APP"], -1
    while True:
        record = history.read(launch.profile_file, app)
        jobs = record.all.jobs if record else 0
        if record and jobs >= sample:
            return record
        if jobs != reported:
            say(f"{jobs} of {sample} jobs")
            reported = jobs
        time.sleep(1)


def _advise(launch: Launch, app: Any, profile: Profile, tasks: Mapping[str, Jobs], seen: str) -> Advice:
    """Return the proposal for a pool with these jobs.

    :raises ConfigurationError: if its memory has no room for a single job.
    """
    bounds = _bounds(launch)
    terms = Terms(launch.settings.pool_kinds, chosen=_chosen(launch))
    size = _size(bounds, profile, terms, app)
    threads = None
    if not terms.chosen and THREADS not in terms.kinds and profile.jobs:
        threads = _size(bounds, profile, replace(terms, kinds=(THREADS, *terms.kinds)), app)
        if threads.plan.kind != THREADS or (threads.rate or 0) < WORTH * (size.rate or 0):
            threads = None
    parts = _parts(bounds, profile, terms, app, tasks)
    gain = _gain(parts, size, bounds.cpus.value / max(profile.cpu, 1e-6)) if len(parts) > 1 else ""
    return Advice(launch.pool, seen, size, threads, tasks, parts if gain else (), gain)


def env(plan: Plan) -> dict[str, str]:
    """Return the variables that fix a plan."""
    values = {name: getattr(plan, field) for name, field in VARIABLES.items()}
    return {name: str(value) for name, value in values.items() if value is not None}


def write(launch: Launch, plan: Plan) -> list[Path]:
    """Replace the plan's variables in the pool's env file, and link an env file for each further replica.

    :returns: the files that were written or linked.
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
        remedy = "Run it as the owner of that folder, or copy the lines above into this worker's environment"
        finding = Finding(target.name, "", str(folder), f"cannot be written: {exc.strerror}", remedy)
        raise ConfigurationError(finding) from exc
    return [target, *links]


def _replace(target: Path, text: str) -> None:
    """Write a file in one step; keep the owner and the rights of an existing one."""
    actual = target.resolve()
    if not actual.exists():
        onestep.write(actual, text)
        return
    status = actual.stat()

    def rights(descriptor: int) -> None:
        os.fchmod(descriptor, status.st_mode)
        os.fchown(descriptor, status.st_uid, status.st_gid)

    onestep.write(actual, text, rights=rights)


def _bounds(launch: Launch) -> Limits:
    return limits.share(limits.read(), launch.pool, _weights(launch))


def _weights(launch: Launch) -> dict[str, float]:
    """Return the weights of the pools, with all replicas of this pool as one."""
    folder = environment.config_dir(launch.environment.values)
    pool = environment.pool_behind(folder, launch.pool)
    others = {
        name: weight
        for name, weight in startup.weights(launch).items()
        if environment.pool_behind(folder, name) != pool
    }
    return {**others, launch.pool: launch.settings.weight}


def _chosen(launch: Launch) -> str:
    """Return the pool kind of the operator, an empty string if there is none or an earlier ``--write`` has set it."""
    kind = launch.environment.values.get(POOL, "")
    kind = startup.ALIASES.get(kind, kind)
    return "" if kind in launch.settings.pool_kinds else kind


def _size(bounds: Limits, profile: Profile, terms: Terms, app: Any) -> Size:
    kind, _ = pool_size.kind_of_pool(bounds, profile, terms)
    try:
        plan = pool_size.plan(bounds, profile, replace(terms, connections=tuple(startup.connections(app.conf, kind))))
    except DoesNotFitError as exc:
        raise ConfigurationError(startup.too_little(exc)) from exc
    return Size(plan, _rate(plan, profile, bounds.cpus), pool_size.memory_of(plan, profile))


def _rate(plan: Plan, profile: Profile, cpus: Limit) -> float | None:
    """Return the jobs a second that a plan can do, bounded by its slots and by the CPUs of its processes."""
    if not profile.jobs or not profile.wall:
        return None
    used = cpus.value if plan.kind == PREFORK else min(cpus.value, plan.replicas * profile.parallel)
    slots = plan.replicas * (1 if plan.kind == SOLO else plan.concurrency)
    cpu = profile.cpu + (parallelism.HANDED_OVER if plan.kind == PREFORK else 0.0)
    return min(slots / profile.wall, used / max(cpu, 1e-6))


def _parts(
    bounds: Limits, profile: Profile, terms: Terms, app: Any, tasks: Mapping[str, Jobs]
) -> tuple[tuple[Part, Size], ...]:
    """Return the proposed queues, each sized for its part of the memory."""
    parts = queue_split.parts(tasks)
    if len(parts) < 2:
        return ()
    room = replace(bounds, memory=replace(bounds.memory, value=bounds.memory.value / len(parts)))
    sized = []
    for part in parts:
        of_part = part.jobs.profile(profile.process, child=profile.child, parallel=profile.parallel)
        sized.append((part, _size(room, of_part, terms, app)))
    return tuple(sized)


def _gain(parts: tuple[tuple[Part, Size], ...], current: Size, most: float) -> str:
    """Return the benefit of separate queues in words, an empty string if it is too small.

    :param most: the jobs a second that the CPUs allow.
    """
    long = [part.jobs for part, _ in parts if part.kind == "long"]
    if long:
        others = max(part.jobs.p95 for part, _ in parts if part.kind != "long")
        return f"those of up to {others:.3g} s wait no longer behind those of {long[0].p50:.3g} s"
    number = sum(part.jobs.jobs for part, _ in parts)
    # All parts of a mix proceed at the pace of the part that is slowest for its number of jobs.
    rate = min(most, *((size.rate or 0.0) * number / part.jobs.jobs for part, size in parts))
    if not current.rate or rate < WORTH * current.rate:
        return ""
    memory = sum(size.memory for _, size in parts)
    return f"about {rate:.3g} jobs/s with {model.megabytes(memory)} in all, instead of {current.rate:.3g}"
