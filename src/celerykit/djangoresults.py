"""Results in the database of a Django project: one that is away is waited for, as every other result backend is."""

from __future__ import annotations

from typing import Any

BACKEND = "django-db"


def install(app: Any) -> None:
    """Have the workers of ``app`` store a result anew until the database takes it, if it has them there.

    The package retries what it takes for a closed connection, and a database that is away is another error. To be
    called once Django is set up: the package's models are imported.
    """
    if app.conf.result_backend != BACKEND:
        return
    from celery.app import backends
    from django.db import InterfaceError, OperationalError, close_old_connections

    def is_away(_: Any, exc: BaseException) -> bool:
        """Say whether the next attempt may succeed, and let it have another connection."""
        if not isinstance(exc, (InterfaceError, OperationalError)):
            return False
        close_old_connections()
        return True

    backend, _ = backends.by_url(BACKEND, app.loader)
    backend.exception_safe_to_retry = is_away
