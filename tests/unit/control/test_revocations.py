"""What is written down of a revocation, and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import celery.app.control
import pytest
from celery import Celery
from celery.worker import state

import celerykit
from celerykit.control import revocations

if TYPE_CHECKING:
    from collections.abc import Callable


class Broken:
    """A store that takes nothing."""

    poll = None

    def __init__(self, error: Exception):
        self.error = error
        self.asked = 0

    def write(self, *_: Any) -> None:
        """Refuse."""
        self.asked += 1
        raise self.error


@pytest.fixture
def app() -> Celery:
    """An app with the kit on a broker in memory."""
    app = Celery("any", broker="memory://", set_as_current=False)
    celerykit.configure(app)
    return app


@pytest.mark.parametrize("headers", [{"batch": ["a", "b"]}, {"batch": ("a", "b")}], ids=["list", "tuple"])
def test_stamps_are_read_as_celery_s_command_reads_them(headers: dict[str, Any]) -> None:
    """Each value is a revocation of its own, whatever holds them."""
    assert revocations.of_stamps(headers) == ['["batch", "a"]', '["batch", "b"]']
    assert revocations.of_stamps({"batch": "a"}) == revocations.of_stamps(["batch=a"]) == ['["batch", "a"]']


def test_stamps_of_any_type_can_be_revoked() -> None:
    """What JSON does not know is told apart all the same, and read again."""
    same, other = UUID(int=1), UUID(int=2)
    (said,) = revocations.of_stamps({"batch": same})
    assert said == revocations.revocation("batch", same) != revocations.revocation("batch", other)
    (said,) = revocations.of_stamps({"batch": Broken})
    assert len(revocations.parts_of(said)) == 2


def test_ids_are_read_as_celery_s_command_reads_them() -> None:
    """One or several, each once."""
    assert revocations.of_jobs("a") == revocations.of_jobs(["a", "a"]) == ['["a"]']
    assert revocations.of_jobs(None) == []


@pytest.mark.parametrize(("error", "asked"), [(OSError("away"), 2), (type("AccessRefused", (Exception,), {})(), 1)])
def test_workers_are_told_though_the_broker_keeps_nothing(
    app: Celery, monkeypatch: pytest.MonkeyPatch, error: Exception, asked: int
) -> None:
    """A revocation is sent as by Celery, whatever becomes of the copy; a user without the right asks once."""
    store, sent = Broken(error), []
    monkeypatch.setattr(revocations, "store_of", lambda app: store)
    monkeypatch.setattr(celery.app.control.Control, "broadcast", lambda self, command, **_: sent.append(command))
    app.control.revoke("a", terminate=True)
    app.control.revoke_by_stamped_headers({"batch": "a"})
    assert sent == ["revoke", "revoke_by_stamped_headers"]
    assert store.asked == asked


def early(app: Celery) -> None:
    """Ask for remote control before the kit is there."""
    assert app.control


def nothing(app: Celery) -> None:
    """Do nothing before."""


@pytest.mark.parametrize("before", [early, nothing])
def test_remote_control_is_the_kit_s_unless_an_app_has_its_own(before: Callable[[Celery], None]) -> None:
    """An app's class of remote control stays; Celery's is replaced, early or late."""

    class Own(celery.app.control.Control):
        pass

    plain, own = Celery("plain", set_as_current=False), Celery("own", control=Own, set_as_current=False)
    for app in (plain, own):
        before(app)
        celerykit.configure(app)
    assert type(plain.control) is revocations.Control
    assert type(own.control) is Own


@pytest.mark.parametrize("seconds", ["", "60"])
def test_celery_s_own_variable_says_how_long_it_is_kept(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    """A month for jobs that wait for an ETA, or what the operator says."""
    monkeypatch.setattr(state, "REVOKE_EXPIRES", 60.0)
    monkeypatch.delenv("CELERY_WORKER_REVOKE_EXPIRES", raising=False)
    if seconds:
        monkeypatch.setenv("CELERY_WORKER_REVOKE_EXPIRES", seconds)
    assert revocations.keep_seconds() == (60.0 if seconds else 30 * 86400.0)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("redis://", True),
        ("sentinel://a;sentinel://b", True),
        ("amqps://", True),
        ("pgmq://a", False),
        ("sqs://", False),
    ],
)
def test_brokers_that_keep_revocations(url: str, kept: bool) -> None:
    """Redis and RabbitMQ do; elsewhere Celery's own file is the place."""
    assert bool(revocations.store_of(Celery("any", broker=url, set_as_current=False))) is kept
