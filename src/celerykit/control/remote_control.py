"""Celery's remote control of workers, in a program with the kit."""

from __future__ import annotations

from typing import Any

from celery.utils.imports import qualname, symbol_by_name

STOCK_CLASS = "celery.app.control:Control"
CLASS = "celerykit.control.revocations:Control"


def install(app: Any) -> None:
    """Make ``app`` keep its revocations, unless it has a remote control class of its own.

    The class is imported at its first use, because most programs only send jobs.
    """
    if app.control_cls == STOCK_CLASS:
        app.control_cls = CLASS
        early = vars(app).get("control")
        if early is not None and qualname(type(early)) == STOCK_CLASS.replace(":", "."):
            early.__class__ = symbol_by_name(CLASS)
