"""Results in the database of a Django project: a worker waits for the database while it is away."""

from __future__ import annotations

import sys
from typing import Any

from celerykit.brokers import refusals

PACKAGE = "django_celery_results"


def install(app: Any) -> None:
    """Make the workers of ``app`` retry until the database stores a result, if the app keeps results in Django.

    The package retries after a closed connection only; a database that is away raises another error. Call this once
    Django is set up: it imports the package's models. An app may subclass the package's backend.
    """
    if PACKAGE not in sys.modules or not app.conf.result_backend:
        return
    from celery.app import backends
    from django_celery_results.backends import DatabaseBackend

    from celerykit.brokers import patience

    backend: Any = backends.by_url(app.conf.result_backend, app.loader)[0]
    if not issubclass(backend, DatabaseBackend):
        return
    backend.exception_safe_to_retry = _is_away
    backend.on_backend_retryable_error = _let_go
    # A refused statement has neither created nor increased the counter of a chord, so a retry counts nothing twice.
    for name in ("apply_chord", "on_chord_part_return"):
        patience.replace(backend, name, patience.waiting)


def _is_away(_: Any, exc: BaseException) -> bool:
    """Say whether the error may pass, so that the next attempt may succeed."""
    from django.db import InterfaceError, OperationalError

    return isinstance(exc, (InterfaceError, OperationalError)) and not refusals.is_final(exc)


def _let_go(_: Any, exc: BaseException) -> None:
    """Close connections before the next attempt: one to a former primary still works, and refuses every write."""
    from django.db import close_old_connections, connections

    close_old_connections()
    if refusals.of(exc):
        for connection in connections.all(initialized_only=True):
            if not connection.in_atomic_block:
                connection.close()
