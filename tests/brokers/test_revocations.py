"""What is revoked never runs, whatever became of the workers that were told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery

import celerykit
from tests.rig.client import results_of
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.containers import Rig
    from tests.rig.process import Process

DUE = 12.0
"""Seconds until delayed jobs are due: longer than it takes to revoke them and to replace the worker."""


class Place:
    """A broker, with results in a Redis, and whoever may revoke there: an app with the kit and one without."""

    def __init__(self, rig: Rig, broker: str):
        rig.redis()
        backend, told = rig.client.app.conf.result_backend, results_of(rig.broker_url)
        if broker == "rabbitmq":
            rig.rabbitmq()
        url = getattr(rig.client, "url", rig.client.app.conf.broker_url).replace("producer:", "worker:")
        self.rig = rig
        self.stock = Celery("stock", broker=url, backend=backend, set_as_current=False)
        self.kit = Celery("kit", broker=url, backend=backend, set_as_current=False)
        celerykit.configure(self.kit)
        self._backend = told

    def worker(self, pool: str = "prefork") -> Process:
        """Start one of one slot."""
        return self.rig.worker(pool, CELERY_RESULT_BACKEND=self._backend, CELERY_WORKER_CONCURRENCY=1)

    def submit(self, number: int = 1, **options: object) -> list[str]:
        """Submit jobs that are short."""
        return self.rig.client.work(number, 0.1, **options)

    def assert_only_these_are_left_out(self, revoked: list[str]) -> None:
        """All other jobs are done, these have never begun, all of them are settled, and their state says so."""
        account = self.rig.ledger.account
        until(lambda: account().lost <= set(revoked), 60, lambda: str(account()))
        until(lambda: self.rig.client.queued() + self.rig.client.unacknowledged() == 0, 60, "an empty broker")
        states = {self.stock.AsyncResult(job).state for job in revoked}
        assert not set(revoked) & set(account().starts)
        assert states == {"REVOKED"}


@pytest.mark.parametrize(("broker", "pool"), [("redis", "gevent"), ("rabbitmq", "prefork")])
def test_what_was_revoked_never_runs(rig: Rig, broker: str, pool: str) -> None:
    """Jobs that waited, were delayed or had a stamp, revoked before all workers died, and while there was none."""
    place = Place(rig, broker)
    first = place.worker()
    rig.client.work(1, 8.0)
    rig.ledger.wait_running()
    plain, delayed = place.submit(4), place.submit(2, countdown=DUE)
    stamped = place.submit(2, stamped_headers=["batch"], batch="one")
    place.submit(1, stamped_headers=["batch"], batch="two")
    revoked = [*plain[:3], delayed[0], *stamped]
    assert place.stock.control.revoke([*plain[:2], delayed[0]], reply=True, timeout=10, limit=1)
    assert place.stock.control.revoke(plain[2], terminate=True, reply=True, timeout=10, limit=1)
    assert place.stock.control.revoke_by_stamped_headers({"batch": ["one"]}, reply=True, timeout=10, limit=1)
    first.kill()
    revoked += (unheard := place.submit(2))
    place.kit.control.revoke(unheard)
    second = place.worker(pool)
    place.assert_only_these_are_left_out(revoked)
    assert "rights" not in second.logs
