"""What a job sends while it runs, when a broker refuses it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, current_app
from celery.exceptions import BackendStoreError, Reject
from kombu.exceptions import OperationalError

from celerykit.worker import consequences
from celerykit.worker.consequences import Refused, owing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AWAY = OperationalError("connection refused")


def nothing() -> None:
    """Be a task."""


@pytest.fixture
def app() -> Iterator[Celery]:
    """Return an app of whose result backend ConnectionError may be tried again."""
    app = Celery("app", broker="memory://", backend="cache+memory://", set_as_current=True)
    app.backend.exception_safe_to_retry = lambda exc: isinstance(exc, ConnectionError)
    app.task(name="late", acks_late=True)(nothing)
    app.task(name="early", acks_late=False)(nothing)
    yield app
    app.close()


def ran(job: Callable[[], Any], task: str = "late", **request: Any) -> Any:
    """Run something as a job, and return why it is given back, or what it has returned."""
    answer = consequences.run(lambda *_: job(), current_app.tasks[task], task, "j1", request)
    return consequences.reason(answer[1]) if isinstance(answer, tuple) else answer


def failing(*errors: Exception) -> tuple[Any, list[float]]:
    """Return a producer that has these errors before it succeeds, and the times at which it was asked."""
    asked, left = [], list(errors)

    def publish(*_: Any, **__: Any) -> str:
        asked.append(time.monotonic())
        if left:
            raise left.pop(0)
        return "sent"

    connection = SimpleNamespace(recoverable_connection_errors=(OSError, KeyError), recoverable_channel_errors=())
    return SimpleNamespace(publish=publish, connection=connection, revive=lambda _: None), asked


def send(producer: Any) -> Any:
    """Publish by the current job."""
    job = consequences.current()
    assert job is not None
    return consequences.Producer(producer, job).publish("body")


def owed(producer: Any) -> Any:
    """Publish what the job leads to."""
    with owing():
        return send(producer)


def test_what_a_job_leads_to_is_sent_when_the_broker_is_there_again(app: Celery) -> None:
    """A refusal or two are bridged."""
    producer, asked = failing(AWAY, ConnectionError("reset"))
    assert ran(lambda: owed(producer)) == "sent"
    assert len(asked) == 3


def test_a_job_is_given_back_when_its_time_is_over(app: Celery) -> None:
    """Before its time limit, which would end it as FAILURE."""
    producer, asked = failing(*[AWAY] * 100)
    assert ran(lambda: owed(producer), timelimit=[None, consequences.MARGIN + 1.0]) == repr(AWAY)
    assert asked[-1] - asked[0] < 1.0


def test_what_rabbitmq_may_deliver_yet_is_sent_once(app: Celery) -> None:
    """Another attempt would be another copy."""
    unconfirmed = OperationalError("RabbitMQ has not confirmed the message")
    unconfirmed.__cause__ = TimeoutError()
    producer, asked = failing(unconfirmed)
    assert "not confirmed" in ran(lambda: owed(producer))
    assert len(asked) == 1


@pytest.mark.parametrize("error", [ValueError("no text"), KeyError("key")])
def test_an_error_of_a_program_is_its_own(app: Celery, error: Exception) -> None:
    """Nobody waits for it to go away."""
    producer, asked = failing(error)
    with pytest.raises(type(error)):
        ran(lambda: owed(producer))
    assert len(asked) == 1


def test_a_job_that_was_acknowledged_first_waits(app: Celery) -> None:
    """Its queue does not have it any more, and so no limit of this module's ends its wait."""
    producer, asked = failing(AWAY, AWAY, AWAY)
    assert ran(lambda: owed(producer), "early", timelimit=[None, 0.1]) == "sent"
    assert len(asked) == 4


def test_what_a_job_sends_itself_is_its_own(app: Celery) -> None:
    """It may see to a refusal; if it does not, it is given back instead of failing."""
    producer, asked = failing(AWAY)

    def handles() -> str:
        with pytest.raises(OperationalError):
            send(producer)
        consequences.let_pass(ValueError("something else"))
        return "handled"

    def fails() -> None:
        try:
            send(failing(AWAY)[0])
        except OperationalError as exc:
            consequences.let_pass(exc)

    assert ran(handles) == "handled"
    assert len(asked) == 1
    assert ran(fails) == repr(AWAY)


def raised_from(cause: Exception) -> BackendStoreError:
    """Return how a result backend tells of its last attempt."""
    error = BackendStoreError("failed to store result on the backend")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_refusal"),
    [
        (Reject(AWAY, requeue=False), True),  # Celery's answer to a retry that could not be sent
        (Reject("the app's own"), False),
        (ConnectionError("of the result backend"), True),
        (raised_from(ConnectionError("reset")), True),
        (BackendStoreError("value too large for Redis backend"), False),
        (ValueError("the app's own"), False),
    ],
)
def test_refusals_are_told_from_errors(app: Celery, error: Exception, is_refusal: bool) -> None:
    """What a broker or a result backend may do later is one."""

    def job() -> None:
        with owing():
            raise error

    if is_refusal:
        assert ran(job)
    else:
        with pytest.raises(type(error)):
            ran(job)


def test_nothing_changes_outside_of_a_job(app: Celery) -> None:
    """A producer, or the worker's own process, has the error itself."""
    with pytest.raises(OperationalError), owing():
        raise AWAY


def test_no_handler_of_exceptions_takes_a_refusal_for_its_own() -> None:
    """Chords and apps have those."""
    assert not issubclass(Refused, Exception)


def test_a_job_may_make_another_app(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """That one is the current app of the process from then on, and does not know the next job's task."""
    monkeypatch.setattr(consequences.trace, "_localized", [app.tasks, frozenset(), "worker@host"])
    monkeypatch.setattr(consequences, "fast_trace_task", lambda name, *_: name)
    Celery("another", broker="memory://")
    assert consequences.run_fast("late", "j1", {}) == "late"


def test_the_worker_s_own_process_waits_for_nothing(app: Celery) -> None:
    """It asks once, and hears of a refusal what a job would hear."""
    producer, asked = failing(AWAY)
    with pytest.raises(Refused), consequences.of_outcome(app):
        owed(producer)
    assert len(asked) == 1
    assert consequences.is_refusal(Refused())
