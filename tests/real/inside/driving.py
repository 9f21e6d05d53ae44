"""What a ``drive.py`` does: it sends jobs, or tells which of those that it is told of are done."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from celery.result import AsyncResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def by_results(sent: list[str]) -> list[str]:
    """Return the ids of jobs that have a result, and have not failed."""
    return [job for job in sent if AsyncResult(job).successful()]


def drive(send: Callable[[int], Iterable[str]], done: Callable[[list[str]], Iterable[str]] = by_results) -> None:
    """Do what the command line says, ``send NUMBER`` or ``done``, and answer with the keys of jobs."""
    command, *numbers = sys.argv[1:]
    answer = send(int(numbers[0])) if command == "send" else done(json.load(sys.stdin))
    print(json.dumps(list(answer)))
