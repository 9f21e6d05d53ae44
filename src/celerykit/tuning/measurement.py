"""The measurement of one task of the app: runs in a process of its own, with their memory and CPU time."""

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
"""Seconds for which threads run a task to measure their CPUs, unless they reach the number of single runs first."""


class Measurement(NamedTuple):
    """The measured values of a task."""

    jobs: Jobs
    child: float
    """The private memory of its process, in bytes."""
    parallel: float
    """The CPUs that its threads used at once; 1 if this was not measured."""


def run(
    app: Any, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], times: int, threads: int = 1
) -> Measurement:
    """Run a task ``times`` times, one run after the other, then in threads at once; return the measured values.

    The process is forked from this one, as a worker forks a child after the import of the app. The first of several
    runs does not count, because it does the imports for later ones.

    :param threads: the number of threads; 1 for an app that is not declared safe for threads.
    :raises ConfigurationError: if the app has no such task, or the task fails.
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
        private, jobs = meters.private(process.pid or 0), tally.summary()
        parallel = _parallel(here, task, jobs, threads) if threads > 1 else 1.0
    except EOFError:
        process.join()
        raise ConfigurationError(_failed(task, f"its process ended with exit code {process.exitcode}")) from None
    finally:
        here.close()
        process.join()
    return Measurement(jobs, max(0.0, private - (tally.growth or 0.0)), parallel)


def _jobs(connection: Connection, pid: int, task: str, times: int) -> Iterator[Seen]:
    growth, meter = meters.Growth(), meters.OfChildren()
    growth.look(pid)
    for _ in range(times):
        began = meter.begin(pid)
        [(wall, _)] = _run(connection, task)
        yield Seen(task, wall, meter.end(began), growth.look(pid))


def _parallel(connection: Connection, task: str, jobs: Jobs, threads: int) -> float:
    """Return the CPUs that this many threads use at once: the interpreter may run one thread at a time."""
    each = max(1, min(jobs.jobs, math.ceil(LONG_ENOUGH / max(jobs.wall, 1e-6))))
    return max(1.0, sum(min(1.0, cpu / max(wall, 1e-9)) for wall, cpu in _run(connection, task, threads, each)))


def _run(connection: Connection, task: str, threads: int = 1, each: int = 1) -> list[tuple[float, float]]:
    """Run the task ``each`` times in each of ``threads`` threads; return each thread's seconds and CPU seconds."""
    connection.send((threads, each))
    spans, problem = connection.recv()
    if problem:
        raise ConfigurationError(_failed(task, problem))
    return list(spans)


def _serve(
    connection: Connection, other: Connection, app: Any, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Run the task at each request of the parent, in the child."""

    def work(times: int) -> tuple[float, float]:
        began, cpu, delayed = time.monotonic(), time.thread_time(), meters.delay_of_thread()
        for _ in range(times):
            app.tasks[task].apply(args=args, kwargs=kwargs, throw=True)
        # Time lost to other processes of this machine is no part of the job's time.
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
                # A single run is in the main thread, as in a pool child, because signal handlers need it.
                spans = [work(each)] if threads == 1 else list(pool.map(work, [each] * threads))
        except Exception as exc:  # the app's code may raise anything; report it to its author
            problem = f"raised {exc!r}"
        connection.send((spans, problem))


def _failed(task: str, problem: str) -> Finding:
    remedy = "Give arguments that work by --args and --kwargs; nothing was measured"
    return Finding("--task", task, "celerykit tune", problem, remedy)
