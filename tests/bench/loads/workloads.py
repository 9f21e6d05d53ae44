"""What the jobs of each workload do: the same code under every program, and nothing but the standard library.

A workload is a list of jobs that is gone through again and again. It is made of quantiles in an order that is always
the same, so that every stretch as long as the list is the same work.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import dataclass

NOTES = "BENCH_NOTES"
"""The variable that names the file into which each job writes a line."""
MB = 2**20


@dataclass(frozen=True)
class Job:
    """What one job does."""

    wait: float = 0.0
    """Seconds for somebody else's answer."""
    cpu: float = 0.0
    """Seconds of CPU, of its own thread."""
    memory: int = 0
    """Bytes that it fills, and holds to its end."""

    def begin(self) -> bytearray:
        """Take the memory, use the CPU, and return what is held."""
        held = bytearray(b"\1") * self.memory
        end = time.thread_time() + self.cpu
        while time.thread_time() < end:
            pass
        return held


def jobs(load: str) -> tuple[Job, ...]:
    """Return the jobs of a workload, always in the same order."""
    made = list(LOADS[load])
    random.Random(load).shuffle(made)
    return tuple(made)


def between(least: float, most: float, number: int) -> list[float]:
    """Return the quantiles of what is equally likely anywhere between two bounds."""
    return [least + (most - least) * (index + 0.5) / number for index in range(number)]


def long_tail(least: float, most: float, number: int, shape: float = 1.1) -> list[float]:
    """Return the quantiles of a Pareto distribution that ends at ``most``."""
    return [min(most, least / rest ** (1 / shape)) for rest in between(0.0, 1.0, number)]


LOADS: dict[str, list[Job]] = {
    "noop": [Job()],
    "cpu": [Job(cpu=0.02)],
    "wait": [Job(wait=seconds) for seconds in between(0.05, 0.5, 20)],
    "mixed": [*(Job(wait=seconds) for seconds in between(0.05, 0.5, 16)), *(Job(cpu=0.02) for _ in range(4))],
    "memory": [Job(wait=0.1, memory=int(size)) for size in between(50 * MB, 200 * MB, 10)],
    "longtail": [Job(wait=seconds) for seconds in long_tail(0.02, 3.0, 100)],
    "large": [Job(wait=0.5, memory=200 * MB)],
}


def perform(token: str) -> None:
    """Do a job, and note when.

    :param token: workload, number of the job and when it was sent, as :func:`token` makes it.
    """
    began, job = time.time(), _job(token)
    held = job.begin()
    if job.wait:
        time.sleep(job.wait)
    del held
    _note(token, began)


async def perform_async(token: str) -> None:
    """Do the same in a program whose jobs are coroutines."""
    began, job = time.time(), _job(token)
    held = job.begin()
    if job.wait:
        await asyncio.sleep(job.wait)
    del held
    _note(token, began)


def token(load: str, number: int) -> str:
    """Return what names a job and says when it was sent, which is now."""
    return f"{load}-{number}-{time.time():.6f}"


def _job(token: str) -> Job:
    load, number, _ = token.split("-")
    if load not in _jobs:
        _jobs[load] = jobs(load)
    return _jobs[load][int(number) % len(_jobs[load])]


_jobs: dict[str, tuple[Job, ...]] = {}
_opened: list[int] = []


def _note(token: str, began: float) -> None:
    """Append a line; one write call each, so that processes share the file."""
    if not _opened:
        _opened.append(os.open(os.environ[NOTES], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666))
    os.write(_opened[0], f"{token.replace('-', ' ')} {began:.6f} {time.time():.6f}\n".encode())
