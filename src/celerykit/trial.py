"""One task of the app, run some times in a process of its own, to see what it takes."""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import TYPE_CHECKING, Any

from celerykit import names
from celerykit.errors import ConfigurationError, Finding
from celerykit.worker import meters
from celerykit.worker.tally import Seen, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection

    from celerykit.profile import Jobs


def run(app: Any, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], times: int) -> tuple[Jobs, float]:
    """Run a task so many times, one after the other, and return what its jobs took, and the bytes of its process alone.

    The process is forked from this one, which has imported the app, as a pool child is. The first run is left out, if
    there are more: it imports what later ones find.

    :raises ConfigurationError: if the app has no such task, or it fails.
    """
    if task not in app.tasks:
        near = names.closest(task, list(app.tasks))
        remedy = f"Did you mean {near}?" if near else f"It has {', '.join(n for n in app.tasks if n[:7] != 'celery.')}"
        raise ConfigurationError(Finding("--task", task, f"app {app.main}", "the app has no such task", remedy))
    here, there = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(there, here, app, task, args, kwargs))
    process.start()
    there.close()
    try:
        tally = Tally()
        for number, job in enumerate(_jobs(here, process.pid or 0, task, times)):
            if number or times == 1:
                tally.add(job)
        own = meters.private(process.pid or 0)
    except EOFError:
        process.join()
        raise ConfigurationError(_failed(task, f"its process ended with exit code {process.exitcode}")) from None
    finally:
        here.close()
        process.join()
    return tally.summary(), max(0.0, own - (tally.growth or 0.0))


def _jobs(connection: Connection, pid: int, task: str, times: int) -> Iterator[Seen]:
    growth, meter = meters.Growth(), meters.OfChildren()
    growth.look(pid)
    for _ in range(times):
        began = meter.begin(pid)
        connection.send(None)
        wall, problem = connection.recv()
        if problem:
            raise ConfigurationError(_failed(task, problem))
        yield Seen(task, wall, meter.end(began), growth.look(pid))


def _serve(
    connection: Connection, other: Connection, app: Any, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Run the task whenever the other side asks, in the child."""
    other.close()
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        problem, began, delayed = "", time.monotonic(), meters.delay(os.getpid())
        try:
            app.tasks[task].apply(args=args, kwargs=kwargs, throw=True)
        except Exception as exc:  # whatever the app's code raises is what its author is told
            problem = f"raised {exc!r}"
        # What else runs on this machine is no part of what the job does.
        connection.send((time.monotonic() - began - (meters.delay(os.getpid()) - delayed), problem))


def _failed(task: str, problem: str) -> Finding:
    remedy = "Say by --args and --kwargs with what it works; nothing was measured"
    return Finding("--task", task, "celerykit tune", problem, remedy)
