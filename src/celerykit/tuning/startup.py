"""The size that a worker gets where nobody has said one: options of Celery from what there is room for."""

from __future__ import annotations

import argparse
import math
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from celerykit.brokers import catalogue
from celerykit.config import environment, pool_kinds, settings
from celerykit.config.pool_kinds import PREFORK
from celerykit.errors import ConfigurationError, Finding
from celerykit.sizing import limits, meters, model, pool_size
from celerykit.sizing.limits import Limit
from celerykit.sizing.model import OPTIONS, DoesNotFitError, Plan, Profile, Terms, Tuning, Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celerykit.config.environment import Environment
    from celerykit.process import Launch
    from celerykit.sizing.history import Record
    from celerykit.sizing.limits import Limits

ALIASES = {"processes": PREFORK}
OF_APP = "the app's own setting"


def kind_of_pool(launch: Launch) -> str:
    """Return the kind of pool that fits what the app allows and its jobs were seen to do."""
    own = launch.settings
    if own.tune == settings.OFF or own.pool_kinds == (PREFORK,):
        return PREFORK
    record, _ = launch.seen
    terms = Terms(kinds=own.pool_kinds)
    # How much memory a process takes says nothing about its kind; the app is not imported yet.
    return pool_size.kind_of_pool(_bounds(launch), _known(record, process=0), terms)[0]


def tune(launch: Launch, app: Any) -> Tuning | None:
    """Return what to give a worker of ``app``, which is imported; None where nothing is to be tuned.

    :raises ConfigurationError: if its memory has no room for a single job.
    """
    from celerykit.celery_app.layer import layer_of

    kind = ALIASES.get(launch.pool_class, launch.pool_class)
    layer = layer_of(app.conf)
    if launch.settings.tune == settings.OFF or kind not in pool_kinds.POOL_KINDS or layer is None:
        return None
    given = {name: _given(launch, app.conf, layer, option) for name, option in OPTIONS.items()}
    terms = Terms(
        kinds=(kind,) if launch.told_pool else launch.settings.pool_kinds,
        chosen=kind,
        replicas=1,
        concurrency=_jobs_at_once(given["concurrency"][0]),
        connections=tuple(connections(app.conf, kind)),
    )
    record, _ = launch.seen
    known = _known(record, footprint())
    bounds = _bounds(launch)
    try:
        plan = pool_size.plan(bounds, known, terms)
    except DoesNotFitError as exc:
        raise ConfigurationError(too_little(exc)) from exc
    forced = launch.settings.tune == settings.FORCE
    values = tuple(_value(plan, name, *given[name], forced=forced) for name in OPTIONS)
    return Tuning(plan, values, forced, bounds, known, terms, rests_on(launch, record, app) if record else "")


def overcommitted(tuned: Tuning) -> Iterator[Finding]:
    """Yield that somebody asks for more jobs at once than the memory has room for, whatever the jobs do."""
    (value,) = (value for value in tuned.values if value.name == "concurrency")
    most = pool_size.most(tuned.plan.kind, tuned.limits, tuned.profile)
    if value.source and not value.fills and (tuned.terms.concurrency or 0) > most:
        memory = tuned.limits.memory
        room = f"{model.megabytes(memory.value)}, {memory.source}"
        problem = f"the memory has room for {most} at once ({room}): beyond that the kernel kills jobs"
        remedy = f"Leave it out, which makes it {value.tuned}, or give the pool more memory"
        yield Finding(value.setting, str(value.given), value.source, problem, remedy)


def fill(app: Any, tuning: Tuning) -> None:
    """Put the values into the kit's layer, below the app's own settings."""
    from celerykit.celery_app.layer import layer_of

    layer = layer_of(app.conf)
    if layer is not None:
        layer.update(tuning.settings())
        layer.tuning = tuning


def weights(launch: Launch) -> dict[str, float]:
    """Return the weight of each worker of this machine: those of one env file are one pool, and share its weight."""
    folder = environment.config_dir(launch.environment.values)
    found = dict.fromkeys(environment.pools(folder), settings.Settings.weight)
    for name, told in environment.of_pools(folder):
        found[name] = _weight(told)
    found[launch.pool] = launch.settings.weight
    pools = Counter(environment.pool_behind(folder, name) for name in found)
    return {name: weight / pools[environment.pool_behind(folder, name)] for name, weight in found.items()}


def footprint() -> float:
    """Return the bytes of memory that a worker's process takes, the app imported, which this process has."""
    # What a worker imports beside the app is part of its memory.
    from celery.apps import worker

    del worker
    return meters.memory(os.getpid()).resident


def _known(record: Record | None, process: float) -> Profile:
    return record.profile(process) if record and record.is_enough else Profile(process)


def _bounds(launch: Launch) -> Limits:
    return limits.share(limits.read(), launch.pool, weights(launch))


def rests_on(launch: Launch, record: Record, app: Any) -> str:
    """Return since when, how much and where jobs were seen, and what of it is of the past."""
    gone = sorted(name for name in record.tasks if name not in app.tasks)
    return (
        f"seen until {record.written}: {record.all.jobs} jobs of {len(record.tasks)} tasks"
        f"{', of which the app no longer has ' + ', '.join(gone) if gone else ''}"
        f" ({launch.profile_file})"
    )


def _weight(told: Environment) -> float:
    try:
        return settings.from_environment(told.values).weight
    except ConfigurationError:  # said where that pool starts
        return settings.Settings.weight


def _given(launch: Launch, conf: Any, layer: Any, option: str) -> tuple[Any, str]:
    """Return the value that the operator or the app has set, and where; none if nobody has."""
    told = launch.environment
    for name in (option, "autoscale") if option == "concurrency" else (option,):
        variable = f"CELERY_WORKER_{name}".upper()
        if value := _argument(launch.arguments, name):
            return value, environment.ARGUMENTS
        if value := told.values.get(variable):
            return value, f"{variable} ({told.sources.get(variable, environment.INHERITED)})"
    return _of_app(conf, layer, f"worker_{option}")


def _argument(arguments: Sequence[str], name: str) -> str | None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    flags = [f"--{name.replace('_', '-')}", *(["-c"] if name == "concurrency" else [])]
    parser.add_argument(*flags, dest="value")
    value: str | None = parser.parse_known_args(list(arguments))[0].value
    return value


def _of_app(conf: Any, layer: Any, name: str) -> tuple[Any, str]:
    """Return the app's own value, whatever style it is written in: what is still there above a mark in the layer."""
    before = {name: layer[name]} if name in layer else {}
    layer[name] = mark = object()
    value = conf[name]
    del layer[name]
    layer.update(before)
    return (None, "") if value is mark else (value, OF_APP)


def _jobs_at_once(given: Any) -> int | None:
    """Return what a given concurrency comes to: a number, ``auto``, or what ``--autoscale`` may grow to."""
    if given is None:
        return None
    most = str(given).partition(",")[0].strip()
    if most.lower() == "auto":
        return limits.auto_concurrency()
    return int(most) if most.isdigit() and int(most) else None


def connections(conf: Any, pool: str) -> Iterator[Limit]:
    """Yield of how many connections a process has no more; a pool child has a process for itself."""
    if pool == PREFORK:
        return
    named = {
        "max_connections of broker_transport_options": (conf.broker_transport_options or {}).get("max_connections")
    }
    backend = catalogue.scheme_of(str(conf.result_backend))
    if backend in catalogue.REDIS:
        named["redis_max_connections"] = conf.redis_max_connections
    if backend in {"db", "database"}:
        named["pool_size of database_engine_options"] = (conf.database_engine_options or {}).get("pool_size")
    yield from (Limit(number, name) for name, number in named.items() if isinstance(number, int) and number > 0)


def _value(plan: Plan, name: str, given: Any, source: str, *, forced: bool) -> Value:
    return Value(name, getattr(plan, name), given, source, fills=not source or (forced and source == OF_APP))


def too_little(exc: DoesNotFitError) -> Finding:
    """Return what to say where the memory has no room for a single job."""
    needed = f"{math.ceil(exc.needed / model.MIB)} MB"
    return Finding(
        "memory",
        model.megabytes(exc.there.value),
        exc.there.source,
        f"less than the {needed} that the app and one job at a time take",
        f"Give it more than {needed}, or say {settings.variable('tune')}={settings.OFF}",
    )
