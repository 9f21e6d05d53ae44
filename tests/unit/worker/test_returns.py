"""A message that goes back, or into the dead letters, is the same message: over kombu's broker in memory."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from kombu import Exchange, Queue
from kombu.compression import compress

from celerykit.messages import dead_letters
from celerykit.worker import origins, returns

if TYPE_CHECKING:
    from collections.abc import Iterator

MEDIA = Exchange("media", type="topic")
QUEUES = {
    "plain": Queue("plain", Exchange("plain", type="direct"), routing_key="plain"),
    "videos": Queue("videos", MEDIA, routing_key="media.#"),
    "audit": Queue("audit", MEDIA, routing_key="media.#"),
    "images": Queue("images", Exchange("images", type="direct"), routing_key="img"),
}
PROPERTIES: dict[str, dict[str, Any]] = {
    "as Celery sends": {},
    "of a topic, by a pattern": {"exchange": MEDIA, "routing_key": "media.hd", "queue": "videos"},
    "of a direct exchange": {"exchange": "images", "routing_key": "img", "queue": "images"},
    **{f"compressed by {kind}": {"compression": kind} for kind in ("zlib", "bzip2", "lzma")},
    **{f"in {kind}": {"serializer": kind} for kind in ("json", "pickle")},
    "signed": {"body": b"\x00\xffsigned", "content_type": "application/data", "content_encoding": "utf-8"},
    "in an encoding of its own": {
        "body": "ü".encode("latin-1"),
        "content_type": "text/x",
        "content_encoding": "latin-1",
    },
    "without a content type": {"body": b"\x01\x02", "content_type": "", "content_encoding": ""},
    "with a priority": {"priority": 6},
    "that expires": {"expiration": 60},
    "to be answered": {"reply_to": "somebody", "correlation_id": "j1"},
    "with an app's headers": {"headers": {"x-tenant": "a", "stamps": {"run": ["1"]}, "stamped_headers": ["run"]}},
    "that is not kept on disk": {"delivery_mode": 1},
}


@pytest.fixture
def app() -> Iterator[Celery]:
    """Return an app on a broker of its own, whose queues are empty."""
    app = Celery("jobs", broker="memory://", set_as_current=False)
    app.conf.update(task_queues=tuple(QUEUES.values()), accept_content=["json", "pickle"])
    with app.connection_for_write() as connection:
        for queue in (*QUEUES.values(), Queue(dead_letters.QUEUE)):
            queue(connection.default_channel).declare()
            queue(connection.default_channel).purge()
    yield app
    app.close()


def received(app: Celery, queue: str) -> Any:
    """Return the next message of a queue, as a worker of the kit receives it."""
    origins.note(app)
    messages: list[Any] = []
    connection = app.connection_for_read()
    consumer = app.amqp.TaskConsumer(connection.default_channel, queues=[QUEUES.get(queue) or Queue(queue)])
    consumer.accept, consumer.on_message = None, messages.append
    consumer.consume()
    connection.drain_events(timeout=5)
    consumer.cancel()
    return messages[0]


def send(app: Celery, **options: Any) -> str:
    """Publish one message, and return the queue that it is taken from."""
    queue: str = options.pop("queue", "plain")
    body = options.pop("body", [[1], {"a": 2}, {"callbacks": None}])
    with app.connection_for_write() as connection:
        if options.get("content_type") == "":
            channel = connection.default_channel
            channel.basic_publish(channel.prepare_message(body, headers={"id": "j"}), "plain", "plain")
        else:
            told = {"exchange": "plain", "routing_key": "plain", **options}
            told["headers"] = {"id": "j", "task": "work", **options.get("headers", {})}
            connection.Producer().publish(body, **told)
    return queue


def looks(message: Any) -> dict[str, Any]:
    """Return all that a message is, but for what the kit and each delivery write into it."""
    headers = {name: value for name, value in message.headers.items() if name not in (*dead_letters.HEADERS, "eta")}
    own = {"delivery_tag", "delivery_info"}
    properties = {name: value for name, value in message.properties.items() if name not in own}
    packed = origins.body_of(message)
    address = origins.origin_of(message)
    return {
        "body": packed,
        "unpacked": message.body,
        "headers": headers,
        "properties": properties,
        "type": (message.content_type, message.content_encoding),
        "address": address,
    }


@pytest.mark.parametrize("kind", PROPERTIES)
def test_a_message_that_goes_back_is_the_same_message(app: Celery, kind: str) -> None:
    """It is in its queue once more and in no other, twice in a row, whatever properties it has."""
    queue = send(app, **PROPERTIES[kind])
    first = received(app, queue)
    looked = looks(first)
    for times in (1, 2):
        assert not returns.send_back(app, first, 3600, dead_letters.DELIVERIES), "settled"
        first.ack()
        first = received(app, queue)
        assert looks(first) == looked
        assert dead_letters.deliveries(first) == times + 1
    eta = datetime.fromisoformat(first.headers["eta"])
    assert 3590 < (eta - datetime.now(timezone.utc)).total_seconds() < 3600
    with app.connection_for_read() as connection:
        sizes = {name: connection.default_channel._size(name) for name in QUEUES}
    assert sizes == {**dict.fromkeys(QUEUES, 0), "audit": int(queue == "videos")}


@pytest.mark.parametrize("kind", PROPERTIES)
def test_a_dead_letter_is_the_message_with_why_and_whence(app: Celery, kind: str) -> None:
    """What was given up can be read, and sent again to the queue that it came from."""
    queue = send(app, **PROPERTIES[kind])
    first = received(app, queue)
    assert not returns.bury(app, first, "for a test")
    letter = received(app, dead_letters.QUEUE)
    looked, kept = looks(first), looks(letter)
    assert {**kept, "address": None} == {**looked, "address": None}
    assert letter.headers[dead_letters.REASON] == "for a test"
    assert letter.headers[dead_letters.ORIGIN] == origins.origin_of(first)
    assert letter.headers[dead_letters.ORIGIN]["queue"] == queue


def test_what_rabbitmq_wrote_of_a_message_s_past_stays_behind(app: Celery) -> None:
    """A job sent again begins anew for the server, and an app's own headers go with it."""
    past = {"x-death": [{"count": 1}], "x-delivery-count": 3, "x-tenant": "a"}
    message = received(app, send(app, headers=past))
    returns.send_back(app, message, 1)
    again = received(app, "plain")
    assert {name for name in again.headers if name.startswith("x-")} == {"x-tenant"}
    assert dead_letters.DELIVERIES not in again.headers


def test_a_message_whose_queue_nobody_noted_stays_where_it_is(app: Celery) -> None:
    """A consumer that is none of the kit's leaves no origin: then nothing is sent anywhere."""
    send(app)
    with app.connection_for_read() as connection:
        message = QUEUES["plain"](connection.default_channel).get()
        assert not returns.can_go_back(message)


def test_a_compressed_body_is_never_packed_twice(app: Celery) -> None:
    """What a worker finds after two deliveries is what the sender packed once."""
    message = received(app, send(app, compression="bzip2"))
    assert origins.body_of(message) == compress(message.body, "bzip2")[0]
