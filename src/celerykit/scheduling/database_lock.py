"""The lease of the one beat on a schedule in a database, as of django-celery-beat: two beats send every job twice."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

LEASE = 20.0
"""Seconds of the lease: a killed beat delays the next one by as much. The clocks of hosts must differ by less."""
RENEWAL = 5.0
"""Seconds between two renewals."""
ROW = 32767
"""The number of the lease's row, in the table whose first row holds the time of the schedule's last change."""


class DatabaseLock:
    """A row with the end of the lease; its holder is the beat that knows the exact time it wrote.

    Each step is one statement, so it works on every database of Django, and through a pool of connections.
    """

    def __init__(self, changes: Any):
        """:param changes: the model of django-celery-beat's table of changes."""
        self._rows = changes._default_manager.filter(pk=ROW)
        self._changes = changes
        self._name = str(changes._meta.db_table)
        self._until: datetime | None = None
        self._renewed_at = 0.0
        self._step = threading.Lock()

    def hold(self, progress: Callable[[], None]) -> None:
        """Take the lease before the first tick, and verify it before each later one.

        :param progress: called once a second while another beat holds the lease.
        :raises ConfigurationError: if another beat keeps the lease, or has taken it since.
        """
        if self._until is None:
            self._wait(progress)
            threading.Thread(target=self._keep, name="celerykit-beat-lease", daemon=True).start()
            atexit.register(self.release)
        elif time.monotonic() - self._renewed_at > LEASE / 2:
            self.renew()
        if not self._renewed_at:
            raise ConfigurationError(self._finding())

    def renew(self) -> None:
        """Renew the lease, unless another beat has it by now. An outage of the database changes nothing."""
        from django.db import Error

        with self._step:
            try:
                if self._renewed_at and not (self._write(last_update=self._until) or self._take()):
                    self._renewed_at = 0.0
            except Error as exc:
                logger.warning("Beat cannot renew its lease of the schedule in %s: %s", self._name, exc)

    def release(self) -> None:
        """End the lease, so that the next beat starts at once."""
        from django.db import Error, close_old_connections
        from django.utils import timezone

        with self._step:
            if self._renewed_at:
                self._renewed_at = 0.0
                try:
                    close_old_connections()
                    self._rows.filter(last_update=self._until).update(last_update=timezone.now())
                except Error as exc:
                    logger.warning("Beat cannot give up its lease of the schedule in %s: %s", self._name, exc)

    def _wait(self, progress: Callable[[], None]) -> None:
        until = time.monotonic() + LEASE + RENEWAL
        while not self._take():
            if time.monotonic() > until:
                raise ConfigurationError(self._finding())
            progress()
            time.sleep(1.0)

    def _take(self) -> bool:
        from django.utils import timezone

        if not self._rows.exists():
            self._changes._default_manager.get_or_create(pk=ROW, defaults={"last_update": timezone.now()})
        return self._write(last_update__lt=timezone.now())

    def _write(self, **condition: Any) -> bool:
        from django.db import close_old_connections
        from django.utils import timezone

        close_old_connections()
        began, until = time.monotonic(), timezone.now() + timedelta(seconds=LEASE)
        if not self._rows.filter(**condition).update(last_update=until):
            return False
        self._until, self._renewed_at = (
            self._rows.get().last_update,
            began,
        )  # read back, because some databases round it
        return True

    def _keep(self) -> None:
        """Renew the lease in a thread: a scheduler may sleep for longer than the lease."""
        while self._renewed_at:
            time.sleep(RENEWAL)
            self.renew()

    def _finding(self) -> Finding:
        problem = "another beat runs on this schedule in the database, and two would send every job twice"
        remedy = "Stop the other one, or run beat only once"
        return Finding("CELERY_BEAT_SCHEDULER", "", f"table {self._name}", problem, remedy)


def of(scheduler: Any) -> DatabaseLock | None:
    """Return the lease of a scheduler's schedule, None unless it is in a database like django-celery-beat's."""
    changes: Any = getattr(scheduler, "Changes", None)
    fields = {field.name for field in changes._meta.get_fields()} if hasattr(changes, "_meta") else set()
    return DatabaseLock(changes) if {"ident", "last_update"} <= fields else None
