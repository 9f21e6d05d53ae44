"""The settings of an app, on each supported release of Celery."""

from __future__ import annotations

from typing import Any

from celerykit import releases


def defaults() -> dict[str, Any]:
    """Return the defaults of newer releases that this release lacks, for any broker."""
    if releases.lacks("exclusive control queues") and not releases.lacks("queue types"):
        return {"control_queue_exclusive": True, "event_queue_exclusive": True}
    return {}


def is_set(conf: Any, name: str) -> bool:
    """Say whether a setting is set above Celery's defaults, in any style of names.

    :param conf: an app's configuration.
    """
    if not releases.lacks("settings by any name"):
        return bool(conf.value_set_for(name))
    from celery.app.utils import Settings

    conf.finalize()
    of_app = Settings({}, conf.maps[:-1], conf._keys, conf.prefix)
    return any(key in of_app for key in (name, *(convert(name) for convert in conf._keys)))


def by_old_names(conf: Any) -> dict[str, Any]:
    """Return the settings that an app has set by old upper-case names, by their present names.

    An older Celery looks for the old name last, and so finds the kit's default first.
    """
    if not releases.lacks("settings by any name"):
        return {}
    from celery.app.defaults import _TO_OLD_KEY

    maps = conf.maps[:-1]
    translated: dict[str, Any] = {}
    for name, old in _TO_OLD_KEY.items():
        if old != name and not any(name in layer for layer in maps):
            values = [layer[old] for layer in maps if old in layer]
            translated.update(zip([name], values, strict=False))  # the first, if there is one
    return translated


def keys(conf: Any, name: str) -> tuple[str, ...]:
    """Return the names under which a value of the kit's overrides one of the app's.

    An older Celery looks for an app's namespaced name first, in every map.
    """
    return tuple(conf._to_keys(name)) if releases.lacks("settings by any name") else (name,)


def acks(task: Any, ending: str) -> bool:
    """Say whether a job with late acknowledgement is acknowledged at an ending without success.

    :param ending: ``failure`` or ``timeout``.
    """
    name = "acks_on_failure_or_timeout" if releases.lacks("acks by ending") else f"acks_on_{ending}"
    return getattr(task, name) is not False


def time_limit(task: Any) -> float | None:
    """Return a task's hard time limit in seconds, its app's if it has none of its own."""
    limit: float | None = task.time_limit
    return limit or (task.app.conf.task_time_limit if releases.lacks("time limits of tasks") else limit)


def typed(queues: Any, conf: Any) -> Any:
    """Return a class of queues with the configured type for missing queues.

    :param queues: a subclass of Celery's ``Queues``.
    :param conf: the app's configuration.
    """
    if not releases.lacks("queue types"):
        return queues
    return type(queues.__name__, (queues,), {"create_missing_queue_type": conf.get("task_create_missing_queue_type")})
