"""What becomes of a message while its job's outcome cannot be dealt with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery import Celery
from celery.worker.request import Request as CeleryRequest
from kombu.exceptions import OperationalError

from celerykit.messages import dead_letters
from celerykit.worker import consequences, returns, settlement

AWAY = OperationalError("connection refused")


class Timer:
    """A timer that is turned by hand."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self._due: list[Any] = []

    def call_after(self, seconds: float, call: Any, arguments: Any) -> None:
        """Note what is to be called."""
        self.delays.append(seconds)
        self._due.append((call, arguments))

    def turn(self) -> None:
        """Call what is due next."""
        call, arguments = self._due.pop(0)
        call(*arguments)


class Request(settlement.Request):
    """A request without a message, which notes how it is settled."""

    id = name = "j1"

    def __init__(self, *refusals: Exception) -> None:
        self.timer = Timer()
        self.acknowledged = False
        self._message = SimpleNamespace(headers={}, channel=SimpleNamespace(connection=None))
        self._app = Celery("app", broker="memory://", set_as_current=False)
        self.settled: list[Any] = []
        self.refusals = list(refusals)
        self.turned: list[None] = []

    def acknowledge(self) -> None:
        """Note it."""
        self.settled.append("acknowledged")

    def reject(self, requeue: bool = False) -> None:
        """Note it."""
        self.settled.append(self._cause)

    def give_back(self, reason: str, *, counter: str = "") -> None:
        """Note it, unless it is refused."""
        self.refuse()
        self.settled.append((reason, counter))

    def refuse(self, *_: Any, **__: Any) -> None:
        """Be refused, as often as was said."""
        if self.refusals:
            raise self.refusals.pop(0)


@pytest.fixture
def celery_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Celery's own handlers refused as the request says."""
    for name in ("on_success", "on_timeout", "on_failure"):
        monkeypatch.setattr(CeleryRequest, name, Request.refuse)
    monkeypatch.setattr(returns, "can_go_back", lambda _: True)


def einfo(exc: BaseException) -> Any:
    """Return what a pool tells of an exception."""
    try:
        raise exc
    except BaseException:
        return ExceptionInfo()


@pytest.mark.usefixtures("celery_refuses")
@pytest.mark.parametrize("handler", ["on_success", "on_failure", "on_timeout"])
def test_a_refused_outcome_is_dealt_with_later(handler: str) -> None:
    """Not at once, ever more rarely, and the message stays where it is meanwhile."""
    request = Request(AWAY, AWAY, AWAY)
    told = {"on_success": ((0, "1", 0.1),), "on_failure": (einfo(ValueError()),), "on_timeout": (False, 1.0)}
    getattr(request, handler)(*told[handler])
    for _ in range(3):
        request.timer.turn()
    assert (request.timer.delays, request.settled, request.refusals) == ([1, 2, 4], [], [])


@pytest.mark.usefixtures("celery_refuses")
def test_an_outcome_that_cannot_be_dealt_with_is_counted() -> None:
    """As any delivery without a result, which has an end."""
    request = Request(ValueError("in a hook"))
    request.on_failure(einfo(ValueError()))
    assert (request.settled, request.timer.delays) == ([settlement.UNSETTLED], [])


@pytest.mark.usefixtures("celery_refuses")
def test_a_lack_of_memory_is_waited_out_for_a_while() -> None:
    """It ended the whole worker. Where memory never suffices, the job is one without a result."""
    request = Request(*[MemoryError()] * settlement.OUT_OF_MEMORY)
    request.on_success((0, "1", 0.1))
    while request.timer.delays[len(request.turned) :]:
        request.turned.append(request.timer.turn())
    assert (request.settled, request.timer.delays) == ([settlement.UNSETTLED], [1, 2, 4, 8, 16])


@pytest.mark.usefixtures("celery_refuses")
def test_a_job_beyond_its_limit_does_not_run_again_for_a_hook_s_error() -> None:
    """Its FAILURE has been stored before."""
    request = Request(ValueError("in a hook"))
    request.on_timeout(False, 1.0)
    assert request.settled == ["acknowledged"]


@pytest.mark.usefixtures("celery_refuses")
def test_a_job_for_what_it_leads_to_goes_back_uncounted() -> None:
    """As soon as the broker takes it, and however often: its own header counts that, and nothing ends it."""
    request = Request(AWAY, ValueError("whatever the client raises"))
    request.on_failure(einfo(consequences.GivenBack("refused", True)))
    assert request.settled == []
    request.timer.turn()
    request.timer.turn()
    assert request.settled == [("refused", dead_letters.REFUSALS)]


@pytest.mark.usefixtures("celery_refuses")
def test_a_job_whose_connection_to_rabbitmq_is_gone_is_left_to_it() -> None:
    """It has put the job back by itself: a copy would run beside it."""
    request = Request()
    request._app.conf.broker_url = "amqp://nowhere"
    request.on_failure(einfo(consequences.GivenBack("refused", True)))
    assert (request.settled, request.timer.delays) == ([], [])
