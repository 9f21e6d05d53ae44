"""The attributes that a task takes from its app's settings at binding, and the origin of each value."""

from __future__ import annotations

import inspect
import sys
from contextlib import suppress
from typing import Any

from celery.app.annotations import resolve_all
from celery.app.defaults import DEFAULTS
from celery.app.task import Task

CLASS = "class"
ANNOTATIONS = "task_annotations"
BINDING = "binding"


def origin(task: Any, attribute: str) -> tuple[str, type]:
    """Return the origin of the value of ``attribute`` of ``task``, and the class that holds it.

    :param attribute: an attribute that a task takes from its app's settings, such as ``acks_late``.
    :returns: :data:`CLASS` for an argument of the decorator, the body of a class or an assignment, :data:`ANNOTATIONS`
        for the app's setting of that name, :data:`BINDING` for a setting at the time of the binding.
    """
    if attribute in vars(task):
        return CLASS, type(task)
    if any(attribute in annotation for annotation in resolve_all(task.app.annotations, type(task))):
        return ANNOTATIONS, type(task)
    holder = next(kind for kind in type(task).__mro__ if attribute in vars(kind))
    return (BINDING if _is_from_binding(holder, attribute) else CLASS), holder


def place(task: Any, holder: type) -> str:
    """Return the file and line of a task, or of its class that holds an attribute.

    :param holder: as :func:`origin` returns it.
    :returns: ``FILE:LINE``; the name of the module where its source is not known.
    """
    made_by_decorator = "run" in vars(holder)
    with suppress(OSError, TypeError):
        if made_by_decorator:
            code = inspect.unwrap(task.run).__code__
            return f"{code.co_filename}:{code.co_firstlineno}"
        return f"{inspect.getsourcefile(holder)}:{inspect.getsourcelines(holder)[1]}"
    return str(getattr(sys.modules.get(holder.__module__), "__file__", None) or holder.__module__)


def renew(app: Any, names: set[str]) -> None:
    """Copy changed settings to the tasks that are bound already, unless they have values of their own.

    :param names: the settings whose defaults have changed.
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
    """Say whether the binding set ``attribute`` on a class: then it comes after ``__bound__`` there."""
    names = list(vars(holder))
    return holder is not Task and "__bound__" in names and names.index("__bound__") < names.index(attribute)
