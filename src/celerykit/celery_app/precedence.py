"""Settings that both the app and the environment hold: their precedence, logged where the values differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celerykit.brokers import catalogue
from celerykit.celery_app.layer import layer_of
from celerykit.config import envfile, settings
from celerykit.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celerykit.config.environment import Environment

VARIABLE = "the variable"
APP = "the app"


@dataclass(frozen=True)
class Side:
    """A variable of compose, role, unit or image, the app's setting beside it, and the winner of the two."""

    variable: str
    setting: str
    wins: str
    note: str = ""


SIDES = (
    Side("CELERY_APP", "", VARIABLE, "`-A` wins over it."),
    Side("CELERY_BROKER_URL", "broker_url", VARIABLE, "As in Celery. The log names the app's own, if it is another."),
    Side(
        "CELERY_BROKER_URL",
        "broker_read_url",
        APP,
        "As in Celery, and so it is with `broker_write_url`. The log says so.",
    ),
    Side("CELERYKIT_RESULT_BACKEND", "result_backend", APP, "The log says so where both are there."),
    Side(
        "CELERY_RESULT_BACKEND",
        "result_backend",
        VARIABLE,
        "As in Celery. The log says so. Neither stack nor role sets it.",
    ),
    Side("CELERY_LOADER", "loader=", APP, "The app has none of the safe defaults then, which `celerykit check` says."),
    Side("CELERY_CONFIG_MODULE", "config_from_object()", APP, "As in Celery: it is for an app that loads no settings."),
    Side(
        "CELERY_WORKER_POOL",
        "worker_pool",
        VARIABLE,
        "Without the variable, the app's has no effect, and the log says so.",
    ),
    Side(
        "CELERY_WORKER_CONCURRENCY",
        "worker_concurrency",
        VARIABLE,
        "Without it the app's holds, not the tuned value.",
    ),
    Side("CELERY_WORKER_AUTOSCALE", "worker_concurrency", VARIABLE),
    Side("CELERY_WORKER_PREFETCH_MULTIPLIER", "worker_prefetch_multiplier", VARIABLE),
    Side("CELERY_WORKER_TIME_LIMIT", "task_time_limit", VARIABLE, "A task's own limit wins over both."),
    Side("CELERY_WORKER_SOFT_TIME_LIMIT", "task_soft_time_limit", VARIABLE, "A task's own limit wins over both."),
    Side("CELERY_WORKER_MAX_TASKS_PER_CHILD", "worker_max_tasks_per_child", VARIABLE),
    Side("CELERY_WORKER_MAX_MEMORY_PER_CHILD", "worker_max_memory_per_child", VARIABLE),
    Side("CELERY_WORKER_TASK_EVENTS", "worker_send_task_events", VARIABLE),
    Side(
        "CELERY_WORKER_QUEUES", "task_queues", VARIABLE, "It chooses among the app's queues, and keeps their options."
    ),
    Side(
        "CELERY_BEAT_SCHEDULE",
        "beat_schedule_filename",
        VARIABLE,
        "A scheduler of the app's own (`beat_scheduler`) wins.",
    ),
    Side("CELERYKIT_LONGEST_JOB", "task_time_limit", APP, "So it is with all safe defaults below."),
    Side("CELERYKIT_DELIVERY", "task_acks_late", APP, "`celerykit check` names each setting that breaks the promise."),
    Side("CELERYKIT_TUNE", "worker_concurrency", APP, "Unless it says `force`."),
    Side("CELERYKIT_APP_ENV_FILE", "os.environ", VARIABLE, "What the app sets for itself by `setdefault()` gives way."),
    Side("DJANGO_SETTINGS_MODULE", "os.environ.setdefault()", VARIABLE, "Code that assigns it wins."),
)
"""The precedence of each variable and setting. Serializers, task classes and routes have no variable."""
BROKER = "CELERY_BROKER_URL"
BACKEND = "CELERY_RESULT_BACKEND"
GIVING_WAY = (
    (BROKER, "broker_url", f"Whatever sends jobs without {BROKER} still goes by the app's"),
    (BACKEND, "result_backend", "Leave the variable out to have the app's"),
)
"""Variables that override a setting of the app, each with the remedy in the log."""
DIRECTIONS = {"read": "workers fetch jobs", "write": "jobs are sent"}


def differing(app: Any, environment: Environment) -> Iterator[Finding]:
    """Yield each broker or result backend of the app that differs from the environment's, with the winner."""
    layer = layer_of(app.conf)
    if layer is None:
        return
    where = f"app {app.main or environment.values['CELERY_APP']}"
    for variable, name, remedy in GIVING_WAY:
        of_variable = environment.values.get(variable, "")
        of_app = _value_of_app(app.conf, layer, name, of_variable)
        if of_app and of_variable and of_app != of_variable:
            yield _finding(name, of_app, where, f"gives way to {_shown(environment, variable)}", remedy)
    yield from _directions(app.conf, environment, where)
    yield from _results(app.conf, environment, where)


def _directions(conf: Any, environment: Environment, where: str) -> Iterator[Finding]:
    of_variable = environment.values.get(BROKER, "")
    for side, does in DIRECTIONS.items():
        name, variable = f"broker_{side}_url", f"CELERY_BROKER_{side.upper()}_URL"
        of_app = conf.get(name)
        if of_app and of_variable and of_app != of_variable and not environment.values.get(variable):
            problem = f"holds where {does}, and not {_shown(environment, BROKER)}"
            yield _finding(name, of_app, where, problem, f"Name that broker in {variable} to have it win")


def _results(conf: Any, environment: Environment, where: str) -> Iterator[Finding]:
    name = settings.variable("result_backend")
    of_app, of_variable = conf.result_backend, environment.values.get(name, "")
    if of_variable and of_app != of_variable and not environment.values.get(BACKEND):
        problem = f"holds, and not {_shown(environment, name)}"
        yield _finding("result_backend", of_app, where, problem, f"Name a result backend in {BACKEND} to have it win")


def _value_of_app(conf: Any, layer: Any, name: str, of_variable: str) -> Any:
    """Return the app's own value, whether or not the environment overrides it by now."""
    value = conf.changes.get(name)
    return value if value and value != of_variable else layer.of_app.get(name)


def _shown(environment: Environment, variable: str) -> str:
    return f"{variable}={envfile.mask(variable, environment.values[variable])} ({environment.sources[variable]})"


def _finding(name: str, value: Any, where: str, problem: str, remedy: str) -> Finding:
    urls = [*catalogue.urls(value)] if value else []
    return Finding(name, ";".join(envfile.mask("", str(url)) for url in urls) or "None", where, problem, remedy)
