"""Where a job on RabbitMQ is sent, by what its sender says of it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.exceptions import AccessRefused, NotFound
from celery import Celery
from kombu import Exchange, Queue
from kombu.common import Broadcast

import celerykit
from celerykit.brokers.sender import Sender

TOPICS = Exchange("topics", type="topic")
QUEUES = [
    Queue("celery"),
    Queue("images", Exchange("media"), routing_key="media.image"),
    Queue("videos", TOPICS, routing_key="video.#"),
    Broadcast("news"),
]
PRODUCER = SimpleNamespace(connection=SimpleNamespace(transport=SimpleNamespace(driver_type="amqp")))
BITS = "0." * 26 + "1.0."
"""Two seconds, as the beginning of a routing key."""


class Server:
    """Takes what it is sent, but for what it refuses."""

    def __init__(self, *refused: Any):
        self.taken: list[tuple[str, str]] = []
        self.tried: list[str] = []
        self._refused = {refusal.exchange: refusal.error for refusal in refused}

    def __call__(self, producer: Any, name: str, message: Any, **options: Any) -> None:
        """Note where a job goes: without an exchange, Celery's function takes its queue's."""
        exchange = options["exchange"] or options["queue"].exchange.name
        self.tried.append(exchange)
        if exchange in self._refused:
            raise self._refused[exchange]
        self.taken.append((exchange, options["routing_key"]))


def refusing(exchange: str, error: Exception) -> Any:
    """Return what a server is not to take."""
    return SimpleNamespace(exchange=exchange, error=error)


def sender(server: Server) -> Sender:
    """Return a sender of an app with queues of each kind."""
    app = Celery("made", broker="amqp://h//", set_as_current=False)
    app.conf.task_queues = QUEUES
    celerykit.configure(app)
    return Sender(app.amqp, server)


def message(seconds: float = 0.0, retries: int = 0) -> Any:
    """Return a job that is due in so many seconds."""
    eta = (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat() if seconds else None
    return SimpleNamespace(headers={"eta": eta, "retries": retries}, body=((), {}, {}))


@pytest.mark.parametrize(
    ("options", "now", "later"),
    [
        ({}, ("celerykit", "celery"), ("celery_delayed_27", f"{BITS}celery")),
        ({"queue": "feeds", "routing_key": "x"}, ("celerykit", "feeds"), ("celery_delayed_27", f"{BITS}feeds")),
        ({"queue": Queue("feeds")}, ("celerykit", "feeds"), ("celery_delayed_27", f"{BITS}feeds")),
        ({"queue": "images"}, ("celerykit", "images"), ("celery_delayed_27", f"{BITS}images")),
        (
            {"queue": "videos", "routing_key": "video.hd"},
            ("topics", "video.hd"),
            ("celery_delayed_27", f"{BITS}videos"),
        ),
        (
            {"exchange": "celery", "routing_key": "celery"},
            ("celery", "celery"),
            ("celery_delayed_27", f"{BITS}celery"),
        ),
        ({"exchange": "topics", "routing_key": "video.hd"}, ("topics", "video.hd"), ("topics", "video.hd")),
        ({"exchange": "other", "routing_key": "video.hd"}, ("other", "video.hd"), ("other", "video.hd")),
        ({"exchange": "media"}, ("celerykit", "celery"), ("celery_delayed_27", f"{BITS}celery")),
        (
            {"exchange": "celery_delayed_delivery", "routing_key": f"{BITS}images"},
            ("celerykit", "images"),
            ("celery_delayed_27", f"{BITS}images"),
        ),
    ],
)
def test_a_job_goes_where_celery_would_have_it(
    options: dict[str, Any], now: tuple[str, str], later: tuple[str, str]
) -> None:
    """At once by its exchange or its queue's name; delayed by a queue's name, or held by a worker."""
    server = Server()
    send = sender(server)
    send(PRODUCER, "any", message(), **options)
    send(PRODUCER, "any", message(2.01), **options)
    assert server.taken == [now, later]


def test_what_is_tried_again_waits_for_its_own_queue() -> None:
    """Also where its first try went to all that listen to a topic."""
    server = Server()
    sender(server)(PRODUCER, "any", message(2.01, retries=1), exchange="topics", routing_key="video.hd")
    assert server.taken == [("celery_delayed_27", f"{BITS}videos")]


def test_a_delay_that_is_refused_is_left_to_a_worker(caplog: pytest.LogCaptureFixture) -> None:
    """With a warning that names the queue, and not tried anew at the next job."""
    server = Server(refusing("celery_delayed_27", NotFound("no exchange")))
    send = sender(server)
    for _ in range(2):
        send(PRODUCER, "any", message(2.01), queue="images")
    assert server.tried == ["celery_delayed_27", "celerykit", "celerykit"]
    assert "cannot delay jobs for queue 'images'" in caplog.text


def test_an_exchange_that_is_not_there_is_no_end() -> None:
    """Where the app knows a queue that it would have; where it knows none, its sender is told."""
    server = Server(refusing("celery", NotFound("no exchange")), refusing("other", AccessRefused("no right")))
    send = sender(server)
    send(PRODUCER, "any", message(), exchange="celery", routing_key="celery")
    assert server.taken == [("celerykit", "celery")]
    with pytest.raises(AccessRefused):
        send(PRODUCER, "any", message(), exchange="other", routing_key="key")
