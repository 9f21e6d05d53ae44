"""Every form of routing in Celery's documentation does under the kit what it does in Celery."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import kombu.transport
import pytest
from amqp.exceptions import AccessRefused, NotFound
from celery import Celery
from kombu import Exchange, Queue
from kombu.common import Broadcast

from celerykit.loader import configure
from tests.brokers.conftest import PGMQ
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.rig.containers import Rig
    from tests.rig.process import Process

WAYS = {"exchange": "celery", "routing_key": "celery"}
CONSUMED = "celery,images,videos,several,urgent.mail,classic,news,feeds"
LOST_ON_REDIS = ("by.news", "queue-news")
"""Forms that a producer loses there: a broadcast before a declaration."""
LOST_BY_CELERY = (*LOST_ON_REDIS, "queue-topic-and-key-again")
"""Forms that Celery's own worker loses there, too: a topic tried again, whose exchange its producer does not know."""
STOCK = {"CELERY_LOADER": "app", "CELERY_APP": "UNSET"}


def expected(rig: Rig, who: str, lost: Sequence[str]) -> Counter[str]:
    """Return how often each job of a sender is to run: once, whatever its form."""
    sent = (job for job in rig.ledger.account().accepted if job.startswith(f"{who}-"))
    return Counter(job for job in sent if job.removeprefix(f"{who}-") not in lost)


def done(rig: Rig, who: str) -> Counter[str]:
    """Return how often each job of a sender has run."""
    return Counter({job: ends for job, ends in rig.ledger.account().done.items() if job.startswith(f"{who}-")})


def assert_as_in_celery(rig: Rig, who: str, lost: Sequence[str] = ()) -> None:
    """Nothing was refused, and each job runs as often as it is to."""
    refused = sorted(job for job in rig.ledger.account().refused if job.startswith(f"{who}-"))
    assert not refused
    until(
        lambda: done(rig, who) == expected(rig, who, lost),
        90,
        lambda: (
            f"missing {expected(rig, who, lost) - done(rig, who)}, "
            f"too often {done(rig, who) - expected(rig, who, lost)}"
        ),
    )


def results_of(rig: Rig) -> str:
    """Make a result backend that counts nothing: a chord's end is asked for again and again."""
    results = rig.ledger.folder / "results"
    results.mkdir(exist_ok=True)
    results.chmod(0o777)
    return "file:///ledger/results"


def worker_of(rig: Rig, **options: Any) -> Process:
    """Start the kit's worker of the app."""
    told = {"CELERY_WORKER_QUEUES": CONSUMED, "CELERY_RESULT_BACKEND": results_of(rig), **options}
    return rig.worker("threads", "routed", working_dir="/app", **told)


def stock_worker_of(rig: Rig, url: str) -> Process:
    """Start a worker without the kit."""
    command = ["-A", "routed", "worker", "-P", "threads", "-c", "2", "-Q", CONSUMED, "-l", "INFO", "-n", "stock@%h"]
    told = {**STOCK, "CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": results_of(rig)}
    process = rig.celery(command, "routed", entrypoint="celery", working_dir="/app", **told)
    process.wait_log(" ready.")
    return process


def send(worker: Process, who: str, countdown: float = 0, **environment: str) -> str:
    """Send by all forms from inside a worker's container, as another process does."""
    told = " ".join(f"{name}={value}" for name, value in environment.items())
    return worker.sh(
        f"cd /app && env PYTHONPATH=/rig {told} python -c 'import routed; routed.main(\"{who}\", {countdown})'"
    )


def test_rabbitmq_routes_as_celery_does(rig: Rig) -> None:
    """By the kit's worker, jobs of producers with the kit and without, at once, delayed, tried again, and a chord."""
    server = rig.rabbitmq()
    # Of an app that knows no queue, by a user who may send alone, before there was a worker.
    early = [rig.client.submit("any", **WAYS, **options) for options in [{}, {"countdown": 2}] * 10]
    server.sh("rabbitmqctl -q add_vhost stock && rabbitmqctl -q set_permissions -p stock worker '.*' '.*' '.*'")
    worker = worker_of(rig)
    stock = stock_worker_of(rig, f"{rig.broker_url.rpartition('/')[0]}/stock")
    print(send(stock, "stock"))
    kit = {"CELERY_LOADER": "celerykit.loader:Loader"}
    print(send(worker, "kit-now", **kit))
    print(send(worker, "kit-later", 3, **kit))
    print(send(worker, "other-now", CELERY_LOADER="app"))
    print(send(worker, "other-later", 3, CELERY_LOADER="app"))
    for who in ("stock", "kit-now", "kit-later", "other-now", "other-later"):
        assert_as_in_celery(rig, who)
    assert set(early) <= set(rig.ledger.account().done)
    assert "Failed to setup delayed delivery" not in worker.logs


def test_rabbitmq_routes_by_headers(rig: Rig) -> None:
    """Each job reaches the queue that its headers name, at once, delayed and after a kill, and no other."""
    rig.rabbitmq()
    worker = rig.worker("threads", "headed", CELERY_WORKER_QUEUES="celery,picture,sound")
    way = {"exchange": "kinds", "routing_key": "any"}
    for kind in ("picture", "sound"):
        for options in ({}, {"countdown": 2}):
            assert rig.client.submit("jobs.work", 0.1, **way, headers={"kind": kind}, **options)
    rig.assert_nothing_lost()
    with pytest.raises(NotFound):
        rig.client.app.send_task("jobs.work", (0.1,), **way, headers={"kind": "smell"})
    jobs = [rig.client.submit("jobs.work", 3.0, **way, headers={"kind": kind}) for kind in ("picture", "sound")]
    rig.ledger.wait_running(2)
    worker.kill()
    worker.start()
    rig.assert_nothing_lost(twice=2)
    assert all(ends == 1 for ends in rig.ledger.account().done.values())
    assert set(rig.ledger.account().started_twice) == set(jobs)


@pytest.mark.parametrize("broker", ["redis", "rabbitmq", "pgmq"])
def test_a_job_that_no_queue_takes_is_refused(rig: Rig, broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends it is told: it would be accepted and never run. What is for all may reach none."""
    {"redis": rig.redis, "rabbitmq": rig.rabbitmq, "pgmq": lambda: PGMQ(rig)}[broker]()
    app = Celery("sender", broker=rig.client.app.conf.broker_url)
    app.conf.broker_transport_options = {"socket_timeout": 6}  # or Kombu gives it the connections of the rig's app
    configure(app)
    monkeypatch.setattr(kombu.transport, "_transport_cache", {})  # a sender's process knows the kit from its start
    media = Exchange("media", type="topic")
    app.conf.task_queues = [Queue("celery"), Queue("videos", media, routing_key="media.#"), Broadcast("news")]
    for options in (
        {"exchange": "media", "routing_key": "nothing"},
        {"exchange": "media", "routing_key": "nothing", "declare": [media]},
        {"exchange": "nowhere", "routing_key": "nothing"},
    ):
        with pytest.raises((NotFound, AccessRefused, LookupError)):
            app.send_task("any", **options)
    app.send_task("any", exchange="media", routing_key="media.video")
    app.send_task("any", exchange="news", routing_key="nothing", declare=[Exchange("news", "fanout")])


@pytest.mark.slow
def test_redis_routes_as_celery_does(rig: Rig) -> None:
    """The same on a broker that has no exchanges of its own."""
    rig.redis()
    worker = worker_of(rig)
    kit = {"CELERY_LOADER": "celerykit.loader:Loader"}
    print(send(worker, "kit-now", **kit))
    print(send(worker, "kit-later", 3, **kit))
    print(send(worker, "other-now", CELERY_LOADER="app"))
    for who in ("kit-now", "kit-later", "other-now"):
        assert_as_in_celery(rig, who, LOST_ON_REDIS)
    worker.stop()
    print(send(stock_worker_of(rig, rig.broker_url), "stock"))
    assert_as_in_celery(rig, "stock", LOST_BY_CELERY)
