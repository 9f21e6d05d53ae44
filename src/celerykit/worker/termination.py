"""The end of a running job that somebody revokes with ``terminate``: each pool's own way to it."""

from __future__ import annotations

import functools
import logging
import signal
from typing import TYPE_CHECKING, Any

import billiard.pool
from billiard.common import TERM_SIGNAL
from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery import bootsteps
from celery.worker import control

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

TERM = "SIGTERM"
"""What Celery's clients ask for where they name no signal."""
COMMANDS = ("revoke", "revoke_by_stamped_headers", "terminate")


class NotPossibleError(NotImplementedError):
    """A pool cannot end a job that runs in it."""

    def __init__(self, request: Any, pool: Any):
        kind = type(pool).__module__.rpartition(".")[2]
        super().__init__(
            f"job {request.name}[{request.id}] runs on: the pool ({kind}) cannot end a running job, prefork and "
            "gevent can. It is revoked, and does not begin again."
        )


class Answers(bootsteps.Step):  # type: ignore[misc]
    """Has remote control answer in words where a job cannot be ended."""

    requires = ("celerykit.worker.revocations:Revocations",)

    def create(self, worker: Any) -> None:
        """Stand before the commands, an app's own of these names included."""
        # Celery has the name of what REMAP_SIGTERM says here, which is for the children alone.
        control.TERM_SIGNAME = TERM
        for name in COMMANDS:
            control.Panel.data[name] = answering(control.Panel.data[name])


def answering(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command of remote control, with the error as its answer if a job cannot be ended."""

    @functools.wraps(command)
    def answer(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except NotPossibleError as exc:
            logger.warning("%s", exc)
            return control.nok(str(exc))

    return answer


class _Reached:
    """A prefork pool whose children get a TERM by the name that they listen to.

    They ignore a TERM itself, which may be for their whole process group: see ``REMAP_SIGTERM`` in
    :mod:`celerykit.launch`.
    """

    def __init__(self, pool: Any):
        self._pool = pool

    def terminate_job(self, pid: int, signum: int) -> None:
        self._pool.terminate_job(pid, TERM_SIGNAL if signum == signal.SIGTERM else signum)


def is_prefork(pool: Any) -> bool:
    """Say whether jobs run in processes of their own."""
    return isinstance(getattr(pool, "_pool", None), billiard.pool.Pool)


def reaching(pool: Any) -> Any:
    """Return a pool whose ``terminate_job`` reaches its jobs."""
    return _Reached(pool) if is_prefork(pool) else pool


def lost(exc: BaseException) -> Any:
    """Return the end of a job whose child was ended for another job."""
    try:
        raise WorkerLostError(f"its child was ended for another job: {exc}") from None
    except WorkerLostError:
        return ExceptionInfo()
