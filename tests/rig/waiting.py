"""Waiting for something to become true, with an end and a reason."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")


def until(question: Callable[[], Answer], seconds: float, what: Callable[[], str] | str, pause: float = 0.2) -> Answer:
    """Ask until the answer is true, and return it.

    :raises AssertionError: after ``seconds``, saying ``what`` did not come about.
    """
    give_up = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(pause)
