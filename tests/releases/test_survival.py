"""No job is lost on an older release of Celery, and a worker outlives its broker's restart."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.releases import environments, servers
from tests.releases.crew import STUCK_AFTER, Crew
from tests.releases.servers import RABBITMQ, REDIS
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.releases.servers import Broker

JOBS = 60
SOON = 20.0
"""Seconds in which a batch is done by a worker that fetches its jobs as soon as there are any: 60 of them take 2."""


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker of a kind."""
    with servers.broker(request.param) as broker:
        yield broker


@pytest.fixture
def crew(request: pytest.FixtureRequest, broker: Broker, tmp_path: Path) -> Iterator[Crew]:
    """Workers of a release with a pool."""
    release, pool = request.param
    crew = Crew(environments.python_of(release), pool, broker, tmp_path)
    try:
        yield crew
    finally:
        crew.close()


def cases() -> Iterator[object]:
    """Yield each release with each pool and broker; of those, two middle ones are quick enough for every day."""
    quick = {(environments.MIDDLE_STOCK, "prefork", REDIS), (environments.MIDDLE, "threads", REDIS)}
    for release in environments.RELEASES:
        for pool, kind in (("prefork", REDIS), ("threads", REDIS), ("gevent", REDIS), ("prefork", RABBITMQ)):
            marks = [] if (release, pool, kind) in quick else [pytest.mark.slow]
            yield pytest.param((release, pool), kind, id=f"{release}-{pool}-{kind}", marks=marks)


@pytest.mark.parametrize(("crew", "broker"), cases(), indirect=True)
def test_no_job_is_lost(crew: Crew, broker: Broker) -> None:
    """Neither by a stop, a kill, the death of a child, nor a restart of the broker; the worker lives on after that."""
    first = crew.start()
    crew.send(JOBS)
    crew.wait_done(JOBS // 4, SOON)
    assert first.stop() == 0, first.log[-3000:]

    second = crew.start()
    crew.wait_all(SOON)
    third = crew.start()
    crew.send(JOBS)
    crew.wait_done(JOBS + JOBS // 4, SOON)
    second.kill()
    crew.wait_all(SOON)

    if is_prefork := crew.pool == "prefork":
        crew.send(JOBS)
        crew.wait_done(2 * JOBS + JOBS // 4, SOON)
        third.kill_child()
        crew.wait_all(SOON)
        crew.send_too_long()
        time.sleep(1)  # it runs by now, and its time limit is over after the restart

    crew.send(JOBS)
    crew.wait_done(crew.sent - JOBS // 2, SOON)
    broker.restart()
    crew.wait_all(2 * SOON)
    restarted = time.monotonic()
    if is_prefork:
        until(lambda: "TimeLimitExceeded" in third.log, SOON, lambda: f"the job is ended\n{third.log[-3000:]}")

    for _ in range(3):  # a worker that nobody wakes asks for jobs every 10 seconds
        crew.send(JOBS)
        assert crew.wait_all(SOON) < 8, third.log[-3000:]
    time.sleep(max(0.0, restarted + STUCK_AFTER + 8 - time.monotonic()))
    assert third.process.poll() is None, third.log[-6000:]
    crew.send(JOBS)
    crew.wait_all(SOON)
    assert third.stop() == 0, third.log[-3000:]
    assert set(crew.done()) == set(range(crew.sent))
