"""Celery's remote control of workers, as a program with the kit has it."""

from __future__ import annotations

from typing import Any

from celery.utils.imports import qualname, symbol_by_name

STOCK_CLASS = "celery.app.control:Control"
CLASS = "celerykit.control.revocations:Control"


def install(app: Any) -> None:
    """Have revocations by ``app`` kept; where it has a remote control of its own, nothing changes.

    The class is imported when somebody uses it: most programs only send jobs.
    """
    if app.control_cls == STOCK_CLASS:
        app.control_cls = CLASS
        early = vars(app).get("control")
        if early is not None and qualname(type(early)) == STOCK_CLASS.replace(":", "."):
            early.__class__ = symbol_by_name(CLASS)
