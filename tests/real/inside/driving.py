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


def drive(
    send: Callable[[int], Iterable[str]],
    done: Callable[[list[str]], Iterable[str]] = by_results,
    periodic: Callable[[], dict[str, int]] = dict,
) -> None:
    """Do what the command line says: ``send NUMBER`` or ``done``, and answer with the keys of jobs, or ``periodic``.

    :param periodic: returns how often the app has noted each of its periodic tasks as done.
    """
    command, *numbers = sys.argv[1:]
    if command == "periodic":
        print(json.dumps(periodic()))
    else:
        print(json.dumps(list(send(int(numbers[0])) if command == "send" else done(json.load(sys.stdin)))))
