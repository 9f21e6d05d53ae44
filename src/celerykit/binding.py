"""The attributes that a task takes from its app's settings when it is bound, and where each has its value from."""

from __future__ import annotations

from typing import Any

from celery.app.annotations import resolve_all
from celery.app.defaults import DEFAULTS
from celery.app.task import Task

CLASS = "class"
ANNOTATIONS = "task_annotations"
BINDING = "binding"


def origin(task: Any, attribute: str) -> tuple[str, type]:
    """Return what gave ``task`` the value of ``attribute``, and the class that holds it.

    :param attribute: one of those that a task has from its app's settings, such as ``acks_late``.
    :returns: :data:`CLASS` for an argument of the decorator or the body of a class, :data:`ANNOTATIONS` for the
        app's setting of that name, :data:`BINDING` for a setting as it was when the task was bound.
    """
    holder = next(kind for kind in type(task).__mro__ if attribute in vars(kind))
    if holder is Task or not _is_from_binding(holder, attribute):
        return CLASS, holder
    if any(attribute in given for given in resolve_all(task.app.annotations, holder)):
        return ANNOTATIONS, holder
    return BINDING, holder


def renew(app: Any, names: set[str]) -> None:
    """Give the tasks that are bound already the settings that have come since, unless they have values of their own.

    :param names: the settings whose defaults are other ones now.
    """
    for attribute, name in Task.from_config:
        if name in names:
            for task in list(app._tasks.values()):  # app.tasks would finalize the app
                _renew(task, attribute, DEFAULTS[name], app.conf[name])


def _renew(task: Any, attribute: str, old: Any, new: Any) -> None:
    kind = type(task)
    value = getattr(kind, attribute, None)
    if value is None:  # to Celery no value, wherever it stands
        setattr(kind, attribute, new)
    elif value == old:
        where, holder = origin(task, attribute)
        if where == BINDING:
            setattr(holder, attribute, new)


def _is_from_binding(holder: type, attribute: str) -> bool:
    """Say whether a class got ``attribute`` when it was bound: then it has it later than the mark of that."""
    names = list(vars(holder))
    return "__bound__" in names and names.index("__bound__") < names.index(attribute)
