"""A deployment kit for Celery: no accepted job is lost by a restart or a kill.

The names of ``__all__`` are public. Every other module, and every name in it, may change with each release.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"
__all__ = ("DeliveriesExceeded", "__version__", "configure")  # __getattr__ has the first
_EXCEPTION = "celerykit.worker.request:DeliveriesExceeded"
"""Imported at its first use: its module imports Celery, and results name that module."""


def configure(app: Any) -> None:
    """Give a Celery app the kit's safe defaults; the app's own settings win.

    It replaces ``CELERY_LOADER`` by one line in the app.

    :param app: a :class:`celery.Celery`.
    """
    from celerykit import loader

    loader.configure(app)


def __getattr__(name: str) -> Any:
    """Return the exception of a job that was started as often as it may be.

    :raises AttributeError: for any other name.
    """
    if name != "DeliveriesExceeded":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pkgutil

    return pkgutil.resolve_name(_EXCEPTION)
