"""Counting deliveries, and keeping what was given up, over kombu's broker in memory."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from kombu import Connection, Exchange, Queue

from celerykit import deadletters

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = Queue("jobs", Exchange("jobs", type="direct"), routing_key="jobs")


@pytest.fixture
def channel() -> Iterator[Any]:
    """Return a channel of an empty broker."""
    with Connection("memory://") as connection:
        channel = connection.default_channel
        for name in ("jobs", deadletters.QUEUE):
            Queue(name, channel=channel).declare()
            Queue(name, channel=channel).purge()
        JOBS(channel).declare()
        yield channel


def sent(channel: Any, **options: Any) -> Any:
    """Send a job as Celery does, and return it as a worker gets it."""
    producer = channel.connection.client.Producer(channel)
    producer.publish(
        [[1], {"a": 2}, {"callbacks": None}],
        serializer="json",
        exchange="jobs",
        routing_key="jobs",
        headers={"id": "j1", "task": "work"},
        correlation_id="j1",
        reply_to="r1",
        **options,
    )
    return JOBS(channel).get()


def producer(channel: Any) -> Any:
    """Return a producer on the same broker."""
    return channel.connection.client.Producer(channel)


def test_deliveries_are_counted_from_one_to_the_next(channel: Any) -> None:
    """The first delivery is 1, and each time the job is sent again one more."""
    message, counts = sent(channel), []
    for _ in range(3):
        counts.append(deadletters.deliveries(message))
        deadletters.send_again(Celery("jobs"), producer(channel), message, 3600)
        message.ack()
        message = JOBS(channel).get()
    assert counts == [1, 2, 3]
    assert deadletters.deliveries(message) == 4


def test_a_job_sent_again_is_the_same_job(channel: Any) -> None:
    """Arguments, links, id and reply address stay byte for byte; only the count and the time change."""
    first = sent(channel, priority=6)
    deadletters.send_again(Celery("jobs"), producer(channel), first, 3600)
    again = JOBS(channel).get()
    assert again.body == first.body
    assert (again.content_type, again.content_encoding) == (first.content_type, first.content_encoding)
    assert (again.properties["correlation_id"], again.properties["reply_to"]) == ("j1", "r1")
    assert again.properties["priority"] == 6
    assert again.properties["delivery_mode"] == 2
    eta = datetime.fromisoformat(again.headers.pop("eta"))
    assert 3590 < (eta - datetime.now(timezone.utc)).total_seconds() < 3600
    assert again.headers == {"id": "j1", "task": "work", deadletters.DELIVERIES: 1}


def test_a_dead_letter_keeps_the_job_and_says_why(channel: Any) -> None:
    """What was given up can be read, and sent again by hand."""
    job = sent(channel, priority=6)
    deadletters.bury(producer(channel), job, "its pool child died at each of 5 deliveries")
    kept = Queue("celerykit.dead-letters", channel=channel).get()
    assert kept.body == job.body
    assert kept.properties["priority"] == 0, "on Redis a priority would put it into another list"
    assert kept.headers == {
        "id": "j1",
        "task": "work",
        deadletters.DELIVERIES: 1,
        deadletters.REASON: "its pool child died at each of 5 deliveries",
    }


def test_what_rabbitmq_wrote_of_a_message_s_past_stays_behind(channel: Any) -> None:
    """A job sent again begins anew for the server, and an app's own headers go with it."""
    job = sent(channel)
    job.headers |= {"x-death": [{"count": 1}], "x-delivery-count": 3, "x-tenant": "a"}
    deadletters.send_again(Celery("jobs"), producer(channel), job, 1)
    again = JOBS(channel).get()
    assert {name for name in again.headers if name.startswith("x-")} == {"x-tenant"}
