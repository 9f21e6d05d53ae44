"""How many jobs of this worker have failed."""

from __future__ import annotations

from typing import Any

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import Ignore, Reject

from celerykit.worker import request


class Outcomes:
    """The count; a job that is to be tried again has failed, one that chose to end without a result has not."""

    failed = 0


class Request(request.Request):
    """The kit's request class, which also counts: only here is the end of a job seen in every kind of pool."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Count what failed."""
        exc = exc_info.exception
        if isinstance(exc, ExceptionWithTraceback):
            exc = exc.exc
        if not isinstance(exc, (Ignore, Reject)):
            Outcomes.failed += 1
        return super().on_failure(exc_info, send_failed_event, return_ok)
