"""One task of the app, run some times in a process of its own, to see what it takes of memory and CPUs."""

from __future__ import annotations

import math
import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from celerykit.config import option_names
from celerykit.errors import ConfigurationError, Finding
from celerykit.sizing import meters
from celerykit.sizing.tally import Seen, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection

    from celerykit.sizing.history import Jobs


LONG_ENOUGH = 0.5
"""Seconds that threads run a task for, to see what CPUs they use at once; or as often as it is run one by one."""


class Found(NamedTuple):
    """What was seen of a task."""

    jobs: Jobs
    child: float
    """The bytes that its process has for itself."""
    parallel: float
    """How many CPUs its threads used at once, 1 if that was not asked."""


def run(app: Any, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], times: int, threads: int = 1) -> Found:
    """Run a task so many times, one after the other, and then in some threads at once, and return what was seen.

    The process is forked from this one, which has imported the app, as a pool child is. The first run is left out, if
    there are more: it imports what later ones find.

    :param threads: how many threads; 1 for an app that is not said to be safe for them.
    :raises ConfigurationError: if the app has no such task, or it fails.
    """
    if task not in app.tasks:
        near = option_names.closest(task, list(app.tasks))
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
        own, jobs = meters.private(process.pid or 0), tally.summary()
        parallel = _parallel(here, task, jobs, threads) if threads > 1 else 1.0
    except EOFError:
        process.join()
        raise ConfigurationError(_failed(task, f"its process ended with exit code {process.exitcode}")) from None
    finally:
        here.close()
        process.join()
    return Found(jobs, max(0.0, own - (tally.growth or 0.0)), parallel)


def _jobs(connection: Connection, pid: int, task: str, times: int) -> Iterator[Seen]:
    growth, meter = meters.Growth(), meters.OfChildren()
    growth.look(pid)
    for _ in range(times):
        began = meter.begin(pid)
        [(wall, _)] = _run(connection, task)
        yield Seen(task, wall, meter.end(began), growth.look(pid))


def _parallel(connection: Connection, task: str, jobs: Jobs, threads: int) -> float:
    """Return how many CPUs so many threads use at once: their interpreter may let one run at a time."""
    each = max(1, min(jobs.jobs, math.ceil(LONG_ENOUGH / max(jobs.wall, 1e-6))))
    return max(1.0, sum(min(1.0, cpu / max(wall, 1e-9)) for wall, cpu in _run(connection, task, threads, each)))


def _run(connection: Connection, task: str, threads: int = 1, each: int = 1) -> list[tuple[float, float]]:
    """Have the task run in so many threads, so often in each, and return each thread's seconds, and those of CPU."""
    connection.send((threads, each))
    spans, problem = connection.recv()
    if problem:
        raise ConfigurationError(_failed(task, problem))
    return list(spans)


def _serve(
    connection: Connection, other: Connection, app: Any, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Run the task whenever the other side asks, in the child."""

    def work(times: int) -> tuple[float, float]:
        began, cpu, delayed = time.monotonic(), time.thread_time(), meters.delay_of_thread()
        for _ in range(times):
            app.tasks[task].apply(args=args, kwargs=kwargs, throw=True)
        # What else runs on this machine is no part of what the job does.
        others = meters.delay_of_thread() - delayed
        return time.monotonic() - began - others, time.thread_time() - cpu

    other.close()
    while True:
        try:
            threads, each = connection.recv()
        except EOFError:
            return
        spans: list[tuple[float, float]] = []
        problem = ""
        try:
            with ThreadPoolExecutor(threads) as pool:
                # One alone runs where it does in a pool child: in the main thread, which has the signals.
                spans = [work(each)] if threads == 1 else list(pool.map(work, [each] * threads))
        except Exception as exc:  # whatever the app's code raises is what its author is told
            problem = f"raised {exc!r}"
        connection.send((spans, problem))


def _failed(task: str, problem: str) -> Finding:
    remedy = "Say by --args and --kwargs with what it works; nothing was measured"
    return Finding("--task", task, "celerykit tune", problem, remedy)
