"""What a worker knows to be revoked, and what it does while the broker keeps nothing."""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery.worker import state
from kombu import Connection

from celerykit.messages.enqueue_time import SENT
from celerykit.worker import revocation_keeper, revocations
from celerykit.worker.revocation_keeper import Keeper
from celerykit.worker.revocations import Revoked
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator


class Store:
    """A broker's store that fails as long as it is told to."""

    poll = None

    def __init__(self, *said: tuple[str, float]):
        self.said = [*said]
        self.fails = False
        self.attempts = 0

    def write(self, _: Any, told: list[str]) -> None:
        """Keep some."""
        self._fail()
        self.said += ((what, time.time()) for what in told)

    def read(self, _: Any, found: deque[tuple[str, float]]) -> None:
        """Append all."""
        self._fail()
        found.extend(self.said)

    def _fail(self) -> None:
        self.attempts += 1
        if self.fails:
            raise OSError("away")


@pytest.fixture(autouse=True)
def _celery_s_state() -> Iterator[None]:
    yield
    state.reset_state()


def revoked(store: Store) -> Revoked:
    """Return what a worker knows by a store."""
    return Revoked(Keeper(lambda: Connection("memory://"), store))


def job(name: str = "a", **headers: Any) -> Any:
    """Return a request as Celery makes it, with stamps that are given as such."""
    return SimpleNamespace(id=name, stamps=headers.pop("stamps", {}), request_dict=headers)


def test_what_is_kept_is_read_before_a_job_begins() -> None:
    """Ids and stamps, without anybody telling this worker; others run."""
    now = time.time()
    known = revoked(Store(('["a"]', now), ('["batch", "one"]', now)))
    assert known.applies_to(job("a"))
    assert known.applies_to(job("b", stamps={"batch": ["two", "one"]}))
    assert known.applies_to(job("b", stamps={"batch": "one"}))
    assert not known.applies_to(job("b", stamps={"batch": "two", "other": "one"}))
    assert "a" in state.revoked


def test_a_worker_that_was_away_reads_again() -> None:
    """What was revoked while it was not connected holds for the next job; it does not ask for each."""
    store = Store()
    known = revoked(store)
    assert not known.applies_to(job())
    assert not known.applies_to(job())
    assert store.attempts == 1
    store.write(None, ['["a"]'])
    known.forget_reading()
    assert known.applies_to(job())


def test_a_revocation_of_weeks_ago_holds() -> None:
    """A job with an ETA does not run, though Celery's own set has forgotten it; nor does a retry of it."""
    known = revoked(Store(('["a"]', time.time() - 14 * 86400)))
    assert known.applies_to(job())
    assert known.applies_to(job(**{SENT: time.time() - 15 * 86400}))
    assert known.applies_to(job(retries=1, **{SENT: time.time()}))


def test_an_id_can_be_used_again_the_next_day() -> None:
    """A job that was sent long after the revocation of its id is another one: some apps name their jobs themselves."""
    known = revoked(Store(('["a"]', time.time() - 86400)))
    assert not known.applies_to(job(**{SENT: time.time()}))


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Celery's set is; the oldest goes first, and one that is said again is new."""
    monkeypatch.setattr(state, "REVOKES_MAX", 2)
    known = revoked(Store())
    for name in ("a", "b", "a", "c"):
        known.hear([f'["{name}"]'])
    assert [known.applies_to(job(name)) for name in "abc"] == [True, False, True]


def test_a_broker_that_keeps_nothing_costs_no_job(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Jobs run, what was heard holds, it is said once, and what was to be kept is kept when the broker takes it."""
    monkeypatch.setattr(revocation_keeper, "PAUSE", 0.05)
    monkeypatch.setattr(revocation_keeper, "LONGEST_PAUSE", 0.1)
    store = Store()
    store.fails = True
    known = revoked(store)
    with caplog.at_level(logging.WARNING, "celerykit"):
        assert not known.applies_to(job())
        known.hear(['["a"]'])
        known.wait_kept()
        assert known.applies_to(job())
        until(lambda: store.attempts > 4, 10, "more attempts", pause=0.01)
    assert len(caplog.records) == 1
    assert "CELERY_BROKER_URL" in caplog.text
    store.fails = False
    until(lambda: [what for what, _ in store.said] == ['["a"]'], 10, "the revocation is kept", pause=0.01)


def test_a_broker_that_does_not_answer_holds_up_a_start_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker waits once, not for each job."""
    monkeypatch.setattr(revocations, "READ_PATIENCE", 0.2)
    known = Revoked(Keeper(lambda: time.sleep(60), Store()))
    began = time.monotonic()
    assert not any(known.applies_to(job()) for _ in range(50))
    assert 0.1 < time.monotonic() - began < 5
