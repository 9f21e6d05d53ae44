"""The size of a worker where nobody has set one: options of Celery that fit the limits of its machine."""

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
    """Return the pool kind that fits the recorded jobs, among the kinds that the app allows."""
    config = launch.settings
    if config.tune == settings.OFF or config.pool_kinds == (PREFORK,):
        return PREFORK
    record, _ = launch.seen
    terms = Terms(kinds=config.pool_kinds)
    # The memory of a process has no influence on the kind; the app is not imported yet.
    return pool_size.kind_of_pool(_bounds(launch), _profile(record, process=0), terms)[0]


def tune(launch: Launch, app: Any) -> Tuning | None:
    """Return the tuning of a worker of the imported ``app``, None where nothing is to be tuned.

    :raises ConfigurationError: if its memory has no room for a single job.
    """
    from celerykit.celery_app.layer import layer_of

    kind = ALIASES.get(launch.pool_class, launch.pool_class)
    layer = layer_of(app.conf)
    if launch.settings.tune == settings.OFF or kind not in pool_kinds.POOL_KINDS or layer is None:
        return None
    configured = {name: _configured(launch, app.conf, layer, option) for name, option in OPTIONS.items()}
    terms = Terms(
        kinds=(kind,) if launch.requested_pool else launch.settings.pool_kinds,
        chosen=kind,
        replicas=1,
        concurrency=_jobs_at_once(configured["concurrency"][0]),
        connections=tuple(connections(app.conf, kind)),
    )
    record, _ = launch.seen
    profile = _profile(record, footprint())
    bounds = _bounds(launch)
    try:
        plan = pool_size.plan(bounds, profile, terms)
    except DoesNotFitError as exc:
        raise ConfigurationError(too_little(exc)) from exc
    forced = launch.settings.tune == settings.FORCE
    values = tuple(_value(plan, name, *configured[name], forced=forced) for name in OPTIONS)
    return Tuning(plan, values, forced, bounds, profile, terms, describe_record(launch, record, app) if record else "")


def overcommitted(tuned: Tuning) -> Iterator[Finding]:
    """Yield a finding if the configured concurrency exceeds the room in memory, even for jobs without growth."""
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
    """Return the weight of each worker of this machine; the workers of one pool share its weight."""
    folder = environment.config_dir(launch.environment.values)
    by_name = dict.fromkeys(environment.pools(folder), settings.Settings.weight)
    for name, environ in environment.of_pools(folder):
        by_name[name] = _weight(environ)
    by_name[launch.pool] = launch.settings.weight
    pools = Counter(environment.pool_behind(folder, name) for name in by_name)
    return {name: weight / pools[environment.pool_behind(folder, name)] for name, weight in by_name.items()}


def footprint() -> float:
    """Return the resident memory of this process in bytes, as of a worker after the import of the app."""
    # A worker also imports these modules, so they count.
    from celery.apps import worker

    del worker
    return meters.memory(os.getpid()).resident


def _profile(record: Record | None, process: float) -> Profile:
    return record.profile(process) if record and record.is_enough else Profile(process)


def _bounds(launch: Launch) -> Limits:
    return limits.share(limits.read(), launch.pool, weights(launch))


def describe_record(launch: Launch, record: Record, app: Any) -> str:
    """Return the record's date, jobs, removed tasks and file, in words."""
    removed = sorted(name for name in record.tasks if name not in app.tasks)
    return (
        f"seen until {record.written}: {record.all.jobs} jobs of {len(record.tasks)} tasks"
        f"{', of which the app no longer has ' + ', '.join(removed) if removed else ''}"
        f" ({launch.profile_file})"
    )


def _weight(environ: Environment) -> float:
    try:
        return settings.from_environment(environ.values).weight
    except ConfigurationError:  # that pool's own start reports it
        return settings.Settings.weight


def _configured(launch: Launch, conf: Any, layer: Any, option: str) -> tuple[Any, str]:
    """Return the value that the operator or the app has set, and its source; None and an empty string if none has."""
    environ = launch.environment
    for name in (option, "autoscale") if option == "concurrency" else (option,):
        variable = f"CELERY_WORKER_{name}".upper()
        if value := _argument(launch.arguments, name):
            return value, environment.ARGUMENTS
        if value := environ.values.get(variable):
            return value, f"{variable} ({environ.sources.get(variable, environment.INHERITED)})"
    return _of_app(conf, layer, f"worker_{option}")


def _argument(arguments: Sequence[str], name: str) -> str | None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    flags = [f"--{name.replace('_', '-')}", *(["-c"] if name == "concurrency" else [])]
    parser.add_argument(*flags, dest="value")
    value: str | None = parser.parse_known_args(list(arguments))[0].value
    return value


def _of_app(conf: Any, layer: Any, name: str) -> tuple[Any, str]:
    """Return the app's own value in any style of names: the value that hides a mark in the kit's layer."""
    before = {name: layer[name]} if name in layer else {}
    layer[name] = mark = object()
    value = conf[name]
    del layer[name]
    layer.update(before)
    return (None, "") if value is mark else (value, OF_APP)


def _jobs_at_once(given: Any) -> int | None:
    """Return the jobs at once of a configured concurrency: a number, ``auto``, or the maximum of ``--autoscale``."""
    if given is None:
        return None
    most = str(given).partition(",")[0].strip()
    if most.lower() == "auto":
        return limits.auto_concurrency()
    return int(most) if most.isdigit() and int(most) else None


def connections(conf: Any, pool: str) -> Iterator[Limit]:
    """Yield each limit on the connections of a process, except for prefork, where each job has its own process."""
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
    """Return the finding for a memory without room for a single job."""
    needed = f"{math.ceil(exc.needed / model.MIB)} MB"
    return Finding(
        "memory",
        model.megabytes(exc.there.value),
        exc.there.source,
        f"less than the {needed} that the app and one job at a time take",
        f"Give it more than {needed}, or say {settings.variable('tune')}={settings.OFF}",
    )
