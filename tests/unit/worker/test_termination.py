"""Which job a signal to a pool child ends."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import billiard.pool
import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.worker import control
from celery.worker.request import Request as CeleryRequest

from celerykit.worker import request, termination


class Request(request.Request):
    """A request without a message, which notes what Celery is told of its end."""

    id = name = "j1"

    def __init__(self) -> None:
        self.acknowledged = False
        self._task = SimpleNamespace(acks_late=False, reject_on_worker_lost=False)
        self.told: list[Any] = []


@pytest.fixture(autouse=True)
def celery_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Celery's own handlers note what they are told."""

    def on_failure(self: Any, exc_info: Any, *_: Any) -> None:
        self.told.append(type(request._exception_of(exc_info)))

    monkeypatch.setattr(CeleryRequest, "on_failure", on_failure)
    monkeypatch.setattr(CeleryRequest, "on_timeout", lambda self, soft, timeout: self.told.append(timeout))


def einfo(exc: Exception) -> Any:
    """Return what a pool tells of an exception."""
    try:
        raise exc
    except Exception:
        return ExceptionInfo()


def test_a_job_whose_child_is_ended_for_another_is_not_revoked() -> None:
    """A child may have begun the next job when the signal arrives: nobody has revoked that one."""
    innocent, revoked = Request(), Request()
    revoked._told_to_end = True
    for each in (innocent, revoked):
        each.on_failure(einfo(Terminated(15)))
    assert (innocent.told, revoked.told) == ([WorkerLostError], [Terminated])


def test_a_revoked_job_stays_revoked_however_long_it_takes_to_end() -> None:
    """Its time limit ends its child, and tells nobody that it failed."""
    slow, other = Request(), Request()
    slow._already_revoked = True
    for each in (slow, other):
        each.on_timeout(False, 4.0)
        each.on_failure(einfo(TimeLimitExceeded(4.0)))
    assert (slow.told, other.told) == ([], [4.0, TimeLimitExceeded])


@pytest.mark.parametrize("remapped", [signal.SIGQUIT, signal.SIGTERM])
def test_children_get_the_signal_that_they_listen_to(monkeypatch: pytest.MonkeyPatch, remapped: int) -> None:
    """Only a TERM is another one there."""
    sent: list[int] = []
    monkeypatch.setattr(termination, "TERM_SIGNAL", remapped)
    children = billiard.pool.Pool.__new__(billiard.pool.Pool)
    pool = SimpleNamespace(_pool=children, terminate_job=lambda pid, signum: sent.append(signum))
    for signum in (signal.SIGTERM, signal.SIGKILL, signal.SIGHUP):
        termination.reaching(pool).terminate_job(1, signum)
    assert sent == [remapped, signal.SIGKILL, signal.SIGHUP]


def test_what_cannot_be_ended_is_answered_in_words() -> None:
    """Whoever asks gets no name of a class, and other errors go their way."""

    def revoke(exc: Exception) -> None:
        raise exc

    told = termination.NotPossibleError(SimpleNamespace(name="work", id="1"), SimpleNamespace())
    assert "work[1] runs on" in termination.answering(revoke)(told)["error"]
    with pytest.raises(ValueError, match="other"):
        termination.answering(revoke)(ValueError("other"))
    assert control.nok("x") == {"error": "x"}
