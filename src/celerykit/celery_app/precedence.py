"""What an app and its surroundings both say: which of the two holds, said in the log where they differ."""

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
    """What compose, role, unit or image say by a variable, beside what an app says by a setting."""

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
        "Without it the app's holds, not what the kit would tune.",
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
    Side("CELERYKIT_DELIVERY", "task_acks_late", APP, "`celerykit check` names what breaks the promise."),
    Side("CELERYKIT_TUNE", "worker_concurrency", APP, "Unless it says `force`."),
    Side("CELERYKIT_APP_ENV_FILE", "os.environ", VARIABLE, "What the app sets for itself by `setdefault()` gives way."),
    Side("DJANGO_SETTINGS_MODULE", "os.environ.setdefault()", VARIABLE, "Code that assigns it wins."),
)
"""What both sides can say, and which of them holds. Serializers, task classes and routes no variable says at all."""
BROKER = "CELERY_BROKER_URL"
BACKEND = "CELERY_RESULT_BACKEND"
GIVING_WAY = (
    (BROKER, "broker_url", f"Whatever sends jobs without {BROKER} still goes by the app's"),
    (BACKEND, "result_backend", "Leave the variable out to have the app's"),
)
"""Variables that win over a setting of the app, each with the remedy that the log names."""
DIRECTIONS = {"read": "workers fetch jobs", "write": "jobs are sent"}


def differing(app: Any, told: Environment) -> Iterator[Finding]:
    """Yield where the app names another broker or result backend than it is told, and which of them holds."""
    layer = layer_of(app.conf)
    if layer is None:
        return
    where = f"app {app.main or told.values['CELERY_APP']}"
    for variable, name, remedy in GIVING_WAY:
        given = told.values.get(variable, "")
        own = _own(app.conf, layer, name, given)
        if own and given and own != given:
            yield _finding(name, own, where, f"gives way to {_shown(told, variable)}", remedy)
    yield from _directions(app.conf, told, where)
    yield from _results(app.conf, told, where)


def _directions(conf: Any, told: Environment, where: str) -> Iterator[Finding]:
    given = told.values.get(BROKER, "")
    for side, does in DIRECTIONS.items():
        name, variable = f"broker_{side}_url", f"CELERY_BROKER_{side.upper()}_URL"
        own = conf.get(name)
        if own and given and own != given and not told.values.get(variable):
            problem = f"holds where {does}, and not {_shown(told, BROKER)}"
            yield _finding(name, own, where, problem, f"Name that broker in {variable} to have it win")


def _results(conf: Any, told: Environment, where: str) -> Iterator[Finding]:
    name = settings.variable("result_backend")
    own, given = conf.result_backend, told.values.get(name, "")
    if given and own != given and not told.values.get(BACKEND):
        problem = f"holds, and not {_shown(told, name)}"
        yield _finding("result_backend", own, where, problem, f"Name a result backend in {BACKEND} to have it win")


def _own(conf: Any, layer: Any, name: str, given: str) -> Any:
    """Return what the app says, before or after the layer has put over it what the environment says."""
    now = conf.changes.get(name)
    return now if now and now != given else layer.own.get(name)


def _shown(told: Environment, variable: str) -> str:
    return f"{variable}={envfile.mask(variable, told.values[variable])} ({told.sources[variable]})"


def _finding(name: str, own: Any, where: str, problem: str, remedy: str) -> Finding:
    urls = [*catalogue.urls(own)] if own else []
    return Finding(name, ";".join(envfile.mask("", str(url)) for url in urls) or "None", where, problem, remedy)
