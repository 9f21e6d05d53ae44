"""A deployment kit for Celery: no accepted job is lost, whatever is restarted or killed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"
__all__ = ("__version__", "configure")


def configure(app: Any) -> None:
    """Give a Celery app the kit's safe defaults; the app's own settings win.

    One line for those who rather not set ``CELERY_LOADER``.

    :param app: a :class:`celery.Celery`.
    """
    from celerykit import loader

    loader.configure(app)
