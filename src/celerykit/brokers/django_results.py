"""Results in the database of a Django project: one that is away is waited for, as every other result backend is."""

from __future__ import annotations

from typing import Any

from celerykit.brokers import refusals

BACKEND = "django-db"


def install(app: Any) -> None:
    """Have the workers of ``app`` store a result anew until the database takes it, if it has them there.

    The package retries what it takes for a closed connection, and a database that is away is another error. To be
    called once Django is set up: the package's models are imported.
    """
    if app.conf.result_backend != BACKEND:
        return
    from celery.app import backends

    from celerykit.brokers import patience

    backend, _ = backends.by_url(BACKEND, app.loader)
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
