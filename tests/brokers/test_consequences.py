"""What a job leads to is not lost, on any broker, while that is full or away at the moment when the job ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import Signature, chain, chord

from tests.brokers.conftest import PGMQ, RabbitMQ
from tests.rig.inside.celerykit_survival import note
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rig.containers import Rig

HEADS = 11
"""How many of these there are at least."""
LINGERING = 25.0
"""Seconds for which a fault lasts: longer than jobs wait for its end, so that they go back to their queue."""
ADMIN = "user admin on nopass ~* &* +@all\n"


class Family:
    """Jobs that lead to others, in each way that Celery has; sent at once."""

    def __init__(self, rig: Rig, pool: str, results: str):
        self._app = rig.client.app
        self._note: Callable[[str, str], None] = lambda kind, job: note(str(rig.ledger.folder), kind, job)
        for name in ("retry_once", "autoretry", "replaced"):
            self._send(self._job(f"jobs.{name}"))
        self._send(chain(self._job("jobs.head"), self._work(), self._work()))
        self._send(self._job("jobs.head"), link=self._member())
        self._send(self._job("jobs.head"), link=[self._member(), self._member()])
        self._send(self._job("jobs.fail"), link_error=self._member())
        for way in ("chunks", "group"):
            names = [f"{way}-{number}" for number in range(5)]
            self._send(self._job("jobs.spread", way, names))
            self._accept(names)
        self._send(chord([self._job("jobs.head")], self._work()))
        if results.startswith("redis"):  # nothing else can be told of another part
            self._send(chord([self._job("jobs.adds")], self._work()))
        self._fail("jobs.fail")
        if pool == "prefork":  # which alone has hard limits
            self._fail("jobs.limited")

    def _fail(self, name: str) -> None:
        """Send a chord that fails: what is to be done then is done, and its body is not."""
        chord([self._job(name)], self._work().on_error(self._member())).apply_async()

    def _job(self, name: str, *args: Any) -> Any:
        return Signature(name, args, app=self._app, immutable=True)

    def _work(self) -> Any:
        return self._job("jobs.work", 0.1)

    def _member(self) -> Any:
        member = self._work()
        self._accept([member.freeze().id])
        return member

    def _send(self, job: Any, **options: Any) -> None:
        result = job.apply_async(**options)
        while result is not None:
            self._accept([child.id for child in getattr(result, "results", ())] or [result.id])
            result = result.parent

    def _accept(self, jobs: list[str]) -> None:
        for job in jobs:
            self._note("accepted", job)


def redis_full(rig: Rig) -> Iterator[str]:
    """Redis has no memory left, for jobs or for results."""
    server = rig.redis(users=ADMIN)
    yield rig.result_backend
    server.sh("redis-cli --user admin --pass any CONFIG SET maxmemory 1mb")
    yield ""
    server.sh("redis-cli --user admin --pass any CONFIG SET maxmemory 0")


def redis_away(rig: Rig) -> Iterator[str]:
    """Redis is killed, with the results."""
    server = rig.redis()
    yield rig.result_backend
    server.kill()
    yield ""
    server.start()


def rabbitmq_full(rig: Rig) -> Iterator[str]:
    """RabbitMQ has its memory alarm; results are in Redis."""
    rig.redis()
    inside, outside = rig.result_backend, rig.client.app.conf.result_backend
    broker = RabbitMQ(rig)
    rig.client.app.conf.result_backend = outside
    yield inside
    broker.fill()
    yield ""
    broker.relieve()


def pgmq_full(rig: Rig) -> Iterator[str]:
    """PostgreSQL has no disk left, for jobs or for results."""
    broker = PGMQ(rig)
    yield rig.result_backend
    broker.fill()
    yield ""
    broker.relieve()


@pytest.mark.parametrize(
    ("fault", "pool"),
    [
        (redis_full, "prefork"),
        (redis_away, "threads"),
        pytest.param(rabbitmq_full, "prefork", marks=pytest.mark.slow),
        pytest.param(pgmq_full, "prefork", marks=pytest.mark.slow),
    ],
)
def test_what_jobs_lead_to_outlasts_a_broker_that_refuses_it(
    rig: Rig, fault: Callable[[Rig], Iterator[str]], pool: str
) -> None:
    """Retries, links, errbacks, chains, chords, replacements, chunks and groups: all done, and no slot lost."""
    stages = fault(rig)
    results = next(stages)
    rig.worker(
        pool, "leading", CELERY_WORKER_CONCURRENCY=HEADS + 3, CELERYKIT_LONGEST_JOB=180, CELERY_RESULT_BACKEND=results
    )
    Family(rig, pool, results)
    rig.ledger.wait_running(HEADS)
    next(stages)
    (rig.ledger.folder / "fault").touch()
    time.sleep(LINGERING)  # nothing tells from outside that a job waits in its child
    assert len(rig.ledger.account().lost) > HEADS, "what the jobs lead to was not refused, so this proves nothing"
    next(stages, None)
    until(lambda: not rig.ledger.account().lost, 90, lambda: f"{rig.ledger.account()}: {rig.ledger.account().lost}")
    until(lambda: rig.client.queued() + rig.client.unacknowledged() == 0, 60, "an empty broker, so no slot is lost")
