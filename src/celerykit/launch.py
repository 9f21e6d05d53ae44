"""The one way in which a worker, beat or Flower starts: resolve, refuse what is wrong, then be Celery."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from celerykit import releases
from celerykit.brokers import catalogue
from celerykit.celery_app import lookup
from celerykit.config import celery_cli, command_line, environment, option_names, pool_kinds, settings
from celerykit.errors import ConfigurationError, Finding
from celerykit.health import starting
from celerykit.messages import serialization
from celerykit.process import Launch
from celerykit.sizing import limits, model
from celerykit.tuning import startup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celerykit.config.environment import Environment

LOADER = "celerykit.loader:Loader"
OWN = "celerykit"
"""Where what the kit gives by itself is from."""
THREADS_POOL = "celerykit.worker.threads:TaskPool"
AUTO = "auto"


def prepare(
    process: str, environ: Mapping[str, str], pool: str, arguments: Sequence[str]
) -> tuple[Launch, list[Finding]]:
    """Resolve what a process is told and judge it; also patch the standard library for green pools.

    :param arguments: Celery's, its global options among them, wherever they stand.
    :returns: the launch, and findings that are only warnings.
    :raises ConfigurationError: if the process must not start like this.
    """
    said, arguments = command_line.split_global(arguments)
    resolved = environment.resolve(process, environ, pool, said)
    values, sources = dict(resolved.values), dict(resolved.sources)
    for name, value in _own_values(process, pool, environ).items():
        if not values.get(name):
            values[name], sources[name] = value, OWN
    arguments = _counted(values, sources, arguments) if releases.lacks("auto") else arguments
    resolved = environment.Environment(values, sources)
    told = Launch(process, pool, list(arguments), resolved, settings.from_environment(values, sources))
    launch = replace(told, pool_class=told.told_pool or startup.kind_of_pool(told))
    os.environ["REMAP_SIGTERM"] = values.get("REMAP_SIGTERM", "")  # billiard reads it when it is imported
    _require_pool_class(launch)
    _patch_for_green_pools(launch)
    errors, warnings = environment.unknown_names(resolved)
    errors += environment.unfit_values(resolved, process)
    errors += _unfit_loader(resolved)
    if not values.get("CELERY_APP"):
        errors.append(
            Finding(
                "CELERY_APP", "", "environment and env files", "names no app", "Set it to the module of your Celery app"
            )
        )
    if errors:
        raise ConfigurationError(*errors)
    return launch, warnings + launch.seen[1]


def enter(launch: Launch) -> None:
    """Make this process's environment, working directory and import path those of the launch.

    :raises ConfigurationError: if the working directory cannot be entered.
    """
    for name in set(os.environ) - set(launch.environment.values):
        del os.environ[name]
    os.environ.update(launch.environment.values)
    os.environ["CELERY_LOADER"] = LOADER
    os.environ[settings.POOL] = launch.pool
    if remapped := launch.environment.values.get("REMAP_SIGTERM"):
        # A worker that starts itself anew inherits the kit's own.
        os.environ.setdefault(
            settings.REMAPPED, OWN if launch.environment.sources["REMAP_SIGTERM"] == OWN else remapped
        )
    if launch.process == "worker":
        os.environ["CELERY_WORKER_POOL"] = launch.pool_class
        if not releases.is_unknown("celery"):
            _replace_threads()
    _enter_folder(launch.environment)
    # Celery imports from the working directory, and a console script does not have it on its path.
    sys.path.insert(0, str(Path.cwd()))


def _replace_threads() -> None:
    """Have ``-P threads`` mean the kit's pool: the size of Celery's own cannot change."""
    from celery import concurrency

    concurrency.ALIASES[pool_kinds.THREADS] = THREADS_POOL


def _enter_folder(told: Environment) -> None:
    if not (folder := told.values.get("CELERY_WORKDIR")):
        return
    try:
        os.chdir(folder)
    except OSError as exc:
        problem = f"cannot be entered: {exc.strerror}"
        finding = Finding("CELERY_WORKDIR", folder, told.sources["CELERY_WORKDIR"], problem, "Name the app's folder")
        raise ConfigurationError(finding) from exc


def load_app(launch: Launch) -> Any:
    """Import and return the app that ``CELERY_APP`` names; Celery finds it imported.

    :raises ConfigurationError: with the last line of the traceback, where it happened and what to do; or if its broker
        or result backend cannot be had, or cannot keep what is promised, or its messages cannot be written.
    """
    try:
        app = lookup.find(launch.environment.values["CELERY_APP"])
        # Celery would import these later, and end in its own traceback.
        app.loader.import_default_modules()
    except (Exception, SystemExit) as exc:
        raise ConfigurationError(lookup.failure(exc, launch.environment)) from exc
    refused = list(catalogue.refusals(app, launch.settings.delivery, launch.environment.sources))
    refused += command_line.unfit(launch.process, launch.arguments, app)
    if refused := [*refused, *serialization.refusals(app)]:
        raise ConfigurationError(*refused)
    return app


def tune(launch: Launch, app: Any) -> model.Tuning | None:
    """Give the options that nobody has set to a worker of ``app``, and return what and why.

    :raises ConfigurationError: if there is no room for a single job.
    """
    tuned = startup.tune(launch, app) if launch.process == "worker" else None
    if tuned is not None:
        startup.fill(app, tuned)
    return tuned


def run(launch: Launch, warn: Callable[[Finding], None]) -> NoReturn:
    """Become Celery, in this process; ends with Celery's exit code.

    :param warn: is told what keeps nothing from running.
    """
    _require_flower(launch)
    enter(launch)
    app, tuned = _started(launch)
    from celerykit.brokers import tls  # and with them Kombu, after green pools have patched what that imports
    from celerykit.celery_app import precedence

    for finding in tls.unchecked(app, f"app {app.main or launch.environment.values['CELERY_APP']}"):
        warn(finding)
    for finding in startup.overcommitted(tuned) if tuned else ():
        warn(finding)
    for finding in precedence.differing(app, launch.environment):
        warn(finding)
    celery = celery_cli.whole() if launch.process == "flower" else celery_cli.own()
    celery_cli.hand_over(celery, app)
    if launch.process == "beat":
        from celerykit.beat import watch_over_beat

        watch_over_beat()
    argv = [*launch.argv, *(tuned.options() if tuned else ())]
    sys.exit(celery(args=argv, prog_name="celery", auto_envvar_prefix="CELERY"))


def _started(launch: Launch) -> tuple[Any, model.Tuning | None]:
    """Import the app, and tune its worker, watched over as the rest of the start is."""
    if launch.process not in {"worker", "beat"}:
        return load_app(launch), None
    pulse = starting.begin(launch.process, launch.pool, launch.settings)
    try:
        app = load_app(launch)
        tuned = tune(launch, app)
        pulse.starting(f"setting the {launch.process} up")
        return app, tuned
    except ConfigurationError:
        pulse.stop()
        raise


def _own_values(process: str, pool: str, environ: Mapping[str, str]) -> dict[str, str]:
    if process == "beat" and (folder := environ.get("STATE_DIRECTORY")):
        return {"CELERY_BEAT_SCHEDULE": f"{folder.partition(':')[0]}/celerybeat-schedule"}
    if process == "flower":
        return {"FLOWER_ADDRESS": "127.0.0.1"}  # Flower's own default is every address
    if process != "worker":
        return {}
    stock = {settings.variable("redis_transport"): settings.STOCK} if releases.is_unknown("kombu") else {}
    return {
        **stock,
        # The node is named after its pool, so that two pools of one host never share a name.
        "CELERY_WORKER_HOSTNAME": f"{pool}@%h",
        # To ask the others what they know takes a second, at each start and each reconnect, for which jobs wait.
        "CELERY_WORKER_WITHOUT_MINGLE": "true",
        # A pool's children must ignore a TERM to the whole process group; celerykit.worker.shutdown puts a handler of
        # its own over what this does to the worker.
        "REMAP_SIGTERM": "SIGQUIT",
    }


def _counted(values: dict[str, str], sources: dict[str, str], arguments: Sequence[str]) -> list[str]:
    """Put a number into the place of ``auto``, which this Celery does not know; return the arguments with it."""
    number = str(limits.auto_concurrency())
    name = "CELERY_WORKER_CONCURRENCY"
    if values.get(name, "").lower() == AUTO:
        values[name], sources[name] = number, f"{AUTO} of {sources[name]}: affinity and cgroup CPU quota"
    counted = []
    for before, argument in zip(("", *arguments), arguments, strict=False):
        flag, separator, value = argument.partition("=")
        is_told = (flag == "--concurrency" and separator and value == AUTO) or argument == f"-c{AUTO}"
        if is_told or (argument == AUTO and before in {"-c", "--concurrency"}):
            argument = argument.removesuffix(AUTO) + number
        counted.append(argument)
    return counted


def _require_flower(launch: Launch) -> None:
    """Refuse what Celery would say of a command that it does not know."""
    if launch.process == "flower" and find_spec("flower") is None:
        source, remedy = (
            f"installed in {sys.prefix}",
            "Install celerykit[flower], or add flower to the app's requirements",
        )
        raise ConfigurationError(Finding("flower", "", source, "it cannot be imported", remedy))


def _require_pool_class(launch: Launch) -> None:
    from celery.concurrency import get_available_pool_names

    known = get_available_pool_names()
    if launch.process != "worker" or launch.pool_class in known:
        return
    source = launch.environment.sources.get("CELERY_WORKER_POOL", environment.ARGUMENTS)
    remedy = f"Celery has {', '.join(known)}"
    if near := option_names.closest(launch.pool_class, known):
        remedy += f"; did you mean {near}?"
    raise ConfigurationError(
        Finding("CELERY_WORKER_POOL", launch.pool_class, source, "no worker pool of Celery", remedy)
    )


def _patch_for_green_pools(launch: Launch) -> None:
    """Patch before anything imports sockets: Celery does so from the command line alone."""
    from celery import maybe_patch_concurrency

    if launch.process == "worker":
        try:
            maybe_patch_concurrency(argv=["celery", *launch.argv])
        except ImportError as exc:
            finding = Finding(
                "CELERY_WORKER_POOL",
                launch.pool_class,
                launch.environment.sources.get("CELERY_WORKER_POOL", environment.ARGUMENTS),
                f"{exc}",
                f"Add {launch.pool_class} to the app's requirements by that name: Celery's extra may install nothing",
            )
            raise ConfigurationError(finding) from exc


def _unfit_loader(resolved: Environment) -> list[Finding]:
    loader = resolved.values.get("CELERY_LOADER", "")
    if loader in {"", LOADER}:
        return []
    problem = "a loader of your own leaves no place for the kit's, which holds its safe defaults"
    remedy = "Unset it and call celerykit.configure(app) in your app, or drop the loader"
    return [Finding("CELERY_LOADER", loader, resolved.sources["CELERY_LOADER"], problem, remedy)]
