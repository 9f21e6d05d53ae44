"""For how long a job was in its queue, as far as that can be told."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import Celery

import celerykit
from celerykit.messages import enqueue_time


def message(**options: Any) -> dict[str, Any]:
    """Send a job, and return its headers as a worker reads them."""
    app = Celery(broker="memory://", set_as_current=False)
    celerykit.configure(app)
    app.send_task("shop.mail", **options)
    with app.connection_for_read() as connection:
        headers: dict[str, Any] = connection.SimpleQueue("celery").get(block=False).headers
    return headers


def test_a_job_says_when_it_was_sent() -> None:
    """By its sender's clock, to the moment."""
    began = time.time()
    ago = enqueue_time.ago(message())
    assert ago is not None
    assert 0 <= ago <= time.time() - began


def test_a_clock_that_is_behind_makes_no_negative_time() -> None:
    """Sender and worker are two machines."""
    assert enqueue_time.ago({enqueue_time.SENT: time.time() + 60}) == 0


@pytest.mark.parametrize(
    "known", [{}, {enqueue_time.SENT: "now"}, {"delivery_info": {"redelivered": True}}, {"celerykit_deliveries": 1}]
)
def test_what_was_not_in_the_queue_all_the_time_is_left_out(known: dict[str, Any]) -> None:
    """A stock sender's job, one that was delivered before, and one that is not to run yet."""
    assert enqueue_time.ago({**(message() if known and enqueue_time.SENT not in known else {}), **known}) is None
    assert enqueue_time.ago(message(countdown=60)) is None
