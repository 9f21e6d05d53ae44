"""When a job's time is: by Celery's own rules."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker import state

from celerykit.worker import eta, origins


def at(seconds: float, zone: Any = timezone.utc) -> str:
    """Return the time in so many seconds as a sender writes it."""
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).astimezone(zone).isoformat()


@pytest.mark.parametrize("zone", [timezone.utc, timezone(timedelta(hours=-9, minutes=-30))])
def test_a_time_is_the_same_in_every_zone(zone: Any) -> None:
    """A sender says which one it means."""
    assert eta.due({"eta": at(60, zone)}, "Asia/Tokyo") == pytest.approx(time.time() + 60, abs=1)


def test_a_time_without_a_zone_is_utc() -> None:
    """As in Celery, whatever zone the app has."""
    assert eta.due({"eta": at(60).removesuffix("+00:00")}, "Asia/Tokyo") == pytest.approx(time.time() + 60, abs=1)


def test_a_job_that_expires_before_is_looked_at_then() -> None:
    """It ends as expired at that time, and takes no room until its own."""
    when = eta.due({"eta": at(3600), "expires": at(60)}, "UTC")
    assert when == pytest.approx(time.time() + 60, abs=3)
    assert eta.due({"eta": at(60), "expires": at(3600)}, "UTC") == pytest.approx(time.time() + 60, abs=1)


@pytest.mark.parametrize("told", ["soon", 5, "9999-99-99T00:00:00"])
def test_what_is_no_time_is_left_to_celery(told: Any) -> None:
    """It says what is wrong with the job, and keeps it."""
    assert eta.due({"eta": told}, "UTC") is None


class Worker:
    """A consumer with a broker that keeps what is put off."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.kept: list[str] = []
        app = Celery("any", broker="redis://", set_as_current=False)
        self.receive = eta.putting_off(SimpleNamespace(app=app, controller=object()), self.got.append)

    def message(self, **headers: Any) -> Any:
        """Return a message that came from a queue."""
        channel = SimpleNamespace(put_off=lambda message, due, name: not self.kept.append(name))
        return SimpleNamespace(
            headers={"task": "any", "id": "j1", **headers}, delivery_info={origins.QUEUE: "celery"}, channel=channel
        )


def test_a_job_waits_on_the_broker_unless_it_is_due_soon() -> None:
    """Whoever wants it now, or in a moment, gets it."""
    worker = Worker()
    for headers in ({}, {"eta": None}, {"eta": at(-5)}, {"eta": at(0.5)}, {"eta": "soon"}):
        worker.receive(worker.message(**headers))
    assert (len(worker.got), worker.kept) == (5, [])
    worker.receive(worker.message(eta=at(60)))
    assert (len(worker.got), worker.kept) == (5, ["j1"])


def test_a_job_of_protocol_1_waits_there_too() -> None:
    """Its time is in the body."""
    worker = Worker()
    message = worker.message()
    message.headers, message.payload = {}, {"task": "any", "id": "old", "eta": at(60), "args": [], "kwargs": {}}
    worker.receive(message)
    assert (worker.got, worker.kept) == ([], ["old"])


def test_a_revoked_job_has_no_time_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery ends it as soon as it has it."""
    monkeypatch.setattr(state, "revoked", {"j1"})
    worker = Worker()
    worker.receive(worker.message(eta=at(60)))
    assert (len(worker.got), worker.kept) == (1, [])
