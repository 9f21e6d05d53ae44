"""Results in the database of a Django project: one that is away is waited for, as every other result backend is."""

from __future__ import annotations

import sys
from typing import Any

from celerykit.brokers import refusals

PACKAGE = "django_celery_results"


def install(app: Any) -> None:
    """Have the workers of ``app`` store a result anew until the database takes it, if it has them there.

    The package retries what it takes for a closed connection, and a database that is away is another error. To be
    called once Django is set up: the package's models are imported. An app may keep results among its own records, by
    a class of its own below the package's.
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
    # A statement that is refused has made no count of a chord, and counted no part of it.
    for name in ("apply_chord", "on_chord_part_return"):
        patience.replace(backend, name, patience.waiting)


def _is_away(_: Any, exc: BaseException) -> bool:
    """Say whether the next attempt may succeed."""
    from django.db import InterfaceError, OperationalError

    return isinstance(exc, (InterfaceError, OperationalError)) and not refusals.is_final(exc)


def _let_go(_: Any, exc: BaseException) -> None:
    """Let the next attempt have another connection; one to a server that was the primary works, and takes nothing."""
    from django.db import close_old_connections, connections

    close_old_connections()
    if refusals.of(exc):
        for connection in connections.all(initialized_only=True):
            if not connection.in_atomic_block:
                connection.close()
