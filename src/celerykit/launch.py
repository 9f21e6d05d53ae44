"""The start of a worker, beat or Flower: resolve the configuration, refuse errors, then become Celery."""

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
KIT = "celerykit"
"""The source of the kit's own values."""
THREADS_POOL = "celerykit.worker.threads:TaskPool"
AUTO = "auto"


def prepare(
    process: str, environ: Mapping[str, str], pool: str, arguments: Sequence[str]
) -> tuple[Launch, list[Finding]]:
    """Resolve and check the configuration of a process; also patch the standard library for green pools.

    :param arguments: Celery's options, with its global options in any place.
    :returns: the launch, and findings that are only warnings.
    :raises ConfigurationError: if the process must not start with this configuration.
    """
    options, arguments = command_line.split_global(arguments)
    resolved = environment.resolve(process, environ, pool, options)
    values, sources = dict(resolved.values), dict(resolved.sources)
    for name, value in _own_values(process, pool, environ).items():
        if not values.get(name):
            values[name], sources[name] = value, KIT
    arguments = _counted(values, sources, arguments) if releases.lacks("auto") else arguments
    resolved = environment.Environment(values, sources)
    draft = Launch(process, pool, list(arguments), resolved, settings.from_environment(values, sources))
    launch = replace(draft, pool_class=draft.requested_pool or startup.kind_of_pool(draft))
    os.environ["REMAP_SIGTERM"] = values.get("REMAP_SIGTERM", "")  # billiard reads it at its import
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
    """Set this process's environment, working directory and import path to those of the launch.

    :raises ConfigurationError: if the working directory cannot be entered.
    """
    for name in set(os.environ) - set(launch.environment.values):
        del os.environ[name]
    os.environ.update(launch.environment.values)
    os.environ["CELERY_LOADER"] = LOADER
    os.environ[settings.POOL] = launch.pool
    if remapped := launch.environment.values.get("REMAP_SIGTERM"):
        # A worker that restarts itself inherits the kit's value.
        os.environ.setdefault(
            settings.REMAPPED, KIT if launch.environment.sources["REMAP_SIGTERM"] == KIT else remapped
        )
    if launch.process == "worker":
        os.environ["CELERY_WORKER_POOL"] = launch.pool_class
        if not releases.is_unknown("celery"):
            _replace_threads()
    _enter_folder(launch.environment)
    # Celery imports from the working directory; a console script does not have that on its path.
    sys.path.insert(0, str(Path.cwd()))


def _replace_threads() -> None:
    """Make ``-P threads`` select the kit's pool: the size of Celery's own cannot change."""
    from celery import concurrency

    concurrency.ALIASES[pool_kinds.THREADS] = THREADS_POOL


def _enter_folder(resolved: Environment) -> None:
    if not (folder := resolved.values.get("CELERY_WORKDIR")):
        return
    try:
        os.chdir(folder)
    except OSError as exc:
        problem = f"cannot be entered: {exc.strerror}"
        finding = Finding(
            "CELERY_WORKDIR", folder, resolved.sources["CELERY_WORKDIR"], problem, "Name the app's folder"
        )
        raise ConfigurationError(finding) from exc


def load_app(launch: Launch) -> Any:
    """Import and return the app that ``CELERY_APP`` names.

    :raises ConfigurationError: with the last line of the traceback, its place and a remedy, if the import fails; or if
        the broker or result backend is refused, or an option, or the serializer of its messages.
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
    """Set the unset options of size on a worker of ``app``, and return them with their reasons.

    :raises ConfigurationError: if there is no room for a single job.
    """
    tuned = startup.tune(launch, app) if launch.process == "worker" else None
    if tuned is not None:
        startup.fill(app, tuned)
    return tuned


def run(launch: Launch, warn: Callable[[Finding], None]) -> NoReturn:
    """Become Celery in this process, and end with Celery's exit code.

    :param warn: receives each finding that does not prevent the start.
    """
    _require_flower(launch)
    enter(launch)
    app, tuned = _started(launch)
    from celerykit.brokers import tls  # imports Kombu: only after green pools have patched the standard library
    from celerykit.celery_app import precedence

    for finding in tls.unchecked(app, f"app {app.main or launch.environment.values['CELERY_APP']}"):
        warn(finding)
    for finding in startup.overcommitted(tuned) if tuned else ():
        warn(finding)
    for finding in precedence.differing(app, launch.environment):
        warn(finding)
    celery = celery_cli.whole() if launch.process == "flower" else celery_cli.stock()
    celery_cli.hand_over(celery, app)
    if launch.process == "beat":
        from celerykit.beat import watch_over_beat

        watch_over_beat()
    argv = [*launch.argv, *(tuned.options() if tuned else ())]
    sys.exit(celery(args=argv, prog_name="celery", auto_envvar_prefix="CELERY"))


def _started(launch: Launch) -> tuple[Any, model.Tuning | None]:
    """Import the app and tune its worker, under the watchdog of the start."""
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
        # Mingling with other workers takes a second at each start and each reconnect, and jobs wait meanwhile.
        "CELERY_WORKER_WITHOUT_MINGLE": "true",
        # Children must ignore a TERM to the whole process group; in the worker itself, celerykit.worker.shutdown
        # replaces the handler that this sets.
        "REMAP_SIGTERM": "SIGQUIT",
    }


def _counted(values: dict[str, str], sources: dict[str, str], arguments: Sequence[str]) -> list[str]:
    """Replace ``auto`` by a number, because this Celery does not know it; return the new arguments."""
    number = str(limits.auto_concurrency())
    name = "CELERY_WORKER_CONCURRENCY"
    if values.get(name, "").lower() == AUTO:
        values[name], sources[name] = number, f"{AUTO} of {sources[name]}: affinity and cgroup CPU quota"
    counted = []
    for before, argument in zip(("", *arguments), arguments, strict=False):
        flag, separator, value = argument.partition("=")
        is_auto = (flag == "--concurrency" and separator and value == AUTO) or argument == f"-c{AUTO}"
        if is_auto or (argument == AUTO and before in {"-c", "--concurrency"}):
            argument = argument.removesuffix(AUTO) + number
        counted.append(argument)
    return counted


def _require_flower(launch: Launch) -> None:
    """Refuse a missing Flower with a remedy: Celery would only name an unknown command."""
    if launch.process == "flower" and find_spec("flower") is None:
        source, remedy = (
            f"installed in {sys.prefix}",
            "Install celerykit[flower], or add flower to the app's requirements",
        )
        raise ConfigurationError(Finding("flower", "", source, "it cannot be imported", remedy))


def _require_pool_class(launch: Launch) -> None:
    from celery.concurrency import get_available_pool_names

    names = get_available_pool_names()
    if launch.process != "worker" or launch.pool_class in names:
        return
    source = launch.environment.sources.get("CELERY_WORKER_POOL", environment.ARGUMENTS)
    remedy = f"Celery has {', '.join(names)}"
    if near := option_names.closest(launch.pool_class, names):
        remedy += f"; did you mean {near}?"
    raise ConfigurationError(
        Finding("CELERY_WORKER_POOL", launch.pool_class, source, "no worker pool of Celery", remedy)
    )


def _patch_for_green_pools(launch: Launch) -> None:
    """Patch the standard library before any import of sockets: Celery itself looks at the command line only."""
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
