"""A job that comes back is the job that was sent, whatever properties it has and by which way it comes."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from kombu import Exchange

from celerykit.messages import dead_letters
from tests.brokers.conftest import PGMQ, RabbitMQ, Redis
from tests.rig.containers import Rig
from tests.rig.waiting import until

if TYPE_CHECKING:
    Broker = PGMQ | RabbitMQ | Redis

IMAGES = Exchange("img")
MEDIA = Exchange("media", type="topic")
QUEUES = "celery,videos,images"


def properties(on: str) -> dict[str, dict[str, Any]]:
    """Return the options of a job by what is special about it, as far as a broker knows it."""
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        **{f"compressed by {kind}": {"compression": kind} for kind in ("zlib", "bzip2", "lzma")},
        "in pickle": {"serializer": "pickle"},
        "with a priority": {"priority": 6},
        "that expires": {"expires": later},
        "to be answered": {"reply_to": "somebody"},
        "with headers": {"headers": {"tenant": "a"}},
        "stamped": {"stamped_headers": ["run"], "run": ["1"]},
        "linked": {"link": {"task": "jobs.tick", "args": ["linked"], "kwargs": {}, "options": {}, "immutable": True}},
        "of protocol 1": {"protocol": 1},
    }
    if on != "PGMQ":  # which knows each binding in the process alone that has made it
        kinds["of a direct exchange"] = {"exchange": IMAGES, "routing_key": "img", "declare": [IMAGES]}
        kinds["of a topic, by a pattern"] = {"exchange": MEDIA, "routing_key": "media.hd", "declare": [MEDIA]}
    if on == "RabbitMQ":
        kinds["that its queue lets expire"] = {"expiration": 600.0}
    return kinds


class Sent:
    """The jobs of each kind that were sent, to come back by one way."""

    def __init__(self, rig: Rig, broker: Broker, way: str, **options: Any):
        self._rig = rig
        self.jobs = {
            kind: self._send(way, {**told, **options}) for kind, told in properties(type(broker).__name__).items()
        }
        assert all(self.jobs.values())

    def _send(self, way: str, told: dict[str, Any]) -> str:
        app = self._rig.client.app
        app.conf.task_protocol = told.pop("protocol", 2)
        try:
            return self._rig.client.submit("ways.comes_back", way, "ü", **told) or ""
        finally:
            app.conf.task_protocol = 2

    def wait_started(self) -> None:
        """Wait until each has begun."""
        until(lambda: set(self.jobs.values()) <= set(self._rig.ledger.account().starts), 60, self._account)

    def wait_done(self, seconds: float) -> None:
        """Wait until each is done; then each looked alike at each delivery."""
        until(lambda: set(self.jobs.values()) <= set(self._rig.ledger.account().done), seconds, self._account)
        looks = self._looks()
        for kind, job in self.jobs.items():
            assert len(looks[job]) >= 2, f"{kind} came once"
            assert all(look == looks[job][0] for look in looks[job]), f"{kind}: {looks[job]}"

    def _looks(self) -> dict[str, list[Any]]:
        looks = defaultdict(list)
        for line in (self._rig.ledger.folder / "looks").read_text().splitlines():
            job, look = json.loads(line)
            looks[job].append(look)
        return looks

    def _account(self) -> str:
        account = self._rig.ledger.account()
        return str({kind: (account.starts[job], account.done[job]) for kind, job in self.jobs.items()})


@pytest.fixture(params=[Redis, RabbitMQ, pytest.param(PGMQ, marks=pytest.mark.slow)], ids=lambda kind: kind.__name__)
def broker(request: pytest.FixtureRequest, rig: Rig) -> Broker:
    """A rig's broker, each kind in turn; on PGMQ jobs go back as on any broker that is neither of the others."""
    made: Broker = request.param(rig)
    return made


@pytest.fixture
def before(broker: Broker, rig: Rig) -> Broker:
    """The broker with the app's queues: a worker has been there."""
    worker = rig.worker(app="ways", CELERY_WORKER_QUEUES=QUEUES)
    worker.stop()
    return broker


def test_a_job_whose_child_dies_comes_back_as_it_was(broker: Broker, rig: Rig) -> None:
    """So does one that its task has rejected, that ran beyond its limit, and that was delayed before."""
    rig.worker(app="ways", CELERY_WORKER_QUEUES=QUEUES, CELERY_WORKER_CONCURRENCY=4)
    died = Sent(rig, broker, "child")
    died.wait_done(90)
    rejected = Sent(rig, broker, "rejected", countdown=2)
    beyond = rig.client.submit("ways.comes_back", "held", time_limit=2)
    rejected.wait_done(60)
    until(lambda: beyond in rig.ledger.account().done, 60, "the second delivery of a job that ran beyond its limit")
    assert not rig.client.dead_letters()


def test_a_job_of_a_worker_that_ends_comes_back_as_it_was(broker: Broker, rig: Rig) -> None:
    """By a kill, whoever takes over, and by a stop whose budget is used up."""
    worker = rig.worker("threads", app="ways", CELERY_WORKER_QUEUES=QUEUES, CELERY_WORKER_CONCURRENCY=40,
                        CELERYKIT_STOP_TIMEOUT=14)  # fmt: skip
    killed = Sent(rig, broker, "held")
    killed.wait_started()
    worker.kill_and_start()
    killed.wait_done(broker.redelivery + 30)
    stopped = Sent(rig, broker, "held")
    stopped.wait_started()
    worker.stop()
    worker.start()
    stopped.wait_done(60)


def test_a_dead_letter_is_the_job_that_was_sent(before: Broker, rig: Rig) -> None:
    """Each property of each job is in the dead letters, byte for byte, with the queue that it came from."""
    sent = Sent(rig, before, "always")
    jobs = set(sent.jobs.values())
    waiting = {name: body for queue in QUEUES.split(",") for name, body in rig.client.bodies(queue).items()}
    assert jobs <= set(waiting)
    rig.worker(app="ways", CELERY_WORKER_QUEUES=QUEUES, CELERYKIT_MAX_DELIVERIES=1)
    until(lambda: jobs <= set(rig.client.bodies(dead_letters.QUEUE)), 90, "a dead letter of each")
    letters = rig.client.bodies(dead_letters.QUEUE)
    for kind, job in sent.jobs.items():
        assert letters[job] == waiting[job], kind
