"""The end of a job, and Celery's information about it."""

from __future__ import annotations

import sys
from typing import Any

from celerykit import releases


def success_was_stored(request: Any) -> bool:
    """Say whether a job had stored its success when its child died; False where Celery does not tell."""
    return False if releases.lacks("stored success") else bool(request._success_was_stored())


def worker_lost(exc: BaseException) -> Any:
    """Return the end of a job that ended its process by ``SystemExit`` or ``KeyboardInterrupt``."""
    from billiard.common import human_status
    from billiard.einfo import ExceptionInfo
    from billiard.exceptions import WorkerLostError

    status = type(exc).__name__
    if isinstance(exc, SystemExit):
        status = human_status(exc.code if isinstance(exc.code, int) else int(exc.code is not None))
    try:
        raise WorkerLostError(f"Worker exited prematurely: {status}.")
    except WorkerLostError:
        return ExceptionInfo()


def scheduled() -> tuple[Any, ...]:
    """Return the requests of jobs that wait in the worker for their ETA; none where Celery does not list them."""
    if releases.lacks("scheduled requests"):
        return ()
    from celery.worker import state

    return tuple(state.scheduled_requests)


def merge_revoked(ids: list[str]) -> None:
    """Add ids that were revoked elsewhere to Celery's revoked ids."""
    from celery.worker import state

    if releases.lacks("merged revocations"):
        state.revoked.update(ids)
    else:
        state.merge_revoked(ids)


def is_link_of_old() -> bool:
    """Say whether Celery is about to send the links of a job before it has stored the job's success.

    A newer Celery has a separate step for this.
    """
    if not releases.lacks("links told apart"):
        return False
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "trace_task" and frame.f_globals.get("__name__") == "celery.app.trace":
            # Celery sets the runtime T once the result is stored; the task's own hooks run after that.
            variables = frame.f_locals
            return bool(variables.get("state") == "SUCCESS" and variables.get("T") is None)
        frame = frame.f_back
    return False
