"""The delay between deliveries of a job that kills its pool child."""

from __future__ import annotations

from celerykit.messages.dead_letters import redelivery_delay
from celerykit.worker import request


def test_the_delay_rises_and_is_capped() -> None:
    """A poison job leaves the pool to others: it waits 1, 2, 4, ... and at most 60 seconds."""
    assert [redelivery_delay(count) for count in (1, 2, 3, 4, 5, 6, 7, 8, 100)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


class SpeechlessExit(BaseException):
    """What an app raises that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_what_cannot_be_shown_is_a_result() -> None:
    """Its name alone: an error in the app's own text must not cost the worker's answer."""
    assert str(request._as_result(SpeechlessExit()).exception.exc) == "SpeechlessExit: (it cannot be shown)"
