"""Waiting for something to become true, with an end and a reason."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Answer = TypeVar("Answer")


def until(question: Callable[[], Answer], seconds: float, what: Callable[[], str] | str, pause: float = 0.2) -> Answer:
    """Ask until the answer is true, and return it.

    Between two questions is at least the time that one takes: on a loaded machine, asking takes the cores from what is
    asked for.

    :raises AssertionError: after ``seconds``, saying ``what`` did not come about.
    """
    give_up = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        answer = question()
        now = time.monotonic()
        if answer:
            return answer
        if now > give_up:
            raise AssertionError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(max(pause, min(now - asked, 5.0)))


@contextmanager
def meanwhile(action: Callable[[], object], pause: float = 0.0) -> Iterator[None]:
    """Do something again and again while this lasts, in a thread, with so many seconds before each time."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(pause):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
