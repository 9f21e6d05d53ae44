"""What a worker's processes make of the CPUs, read from the kernel's counters."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest

from celerykit.sizing.cpu_usage import Meter, Usage, resident_of
from tests.rig.waiting import until


def test_all_processes_count_from_the_second_look_at_each() -> None:
    """What they had, what the main process had of it, and what they wanted; one that has ended is no error."""
    had, waited = {1: 100.0, 7: 100.0, 9: 5.0}, {1: 50.0, 7: 50.0, 9: 5.0}

    def of(counters: dict[int, float], pid: int) -> float:
        if pid not in counters:
            raise ProcessLookupError(pid)
        return counters[pid]

    meter = Meter(lambda pid: of(had, pid), lambda pid: of(waited, pid))
    assert meter.read([1, 7, 9], 10.0) == Usage(0, 0, 0)
    had.update({1: 100.75, 7: 101.0, 8: 500.0})
    waited.update({1: 49.0, 7: 53.0, 8: 500.0})  # a thread of the first has ended
    del had[9]
    used = meter.read([1, 7, 8, 9], 12.0)
    assert (used.main, used.had, used.wanted) == pytest.approx((0.375, 0.875, 2.375))


def test_this_machine_s_kernel_counts() -> None:
    """A thread that only counts uses a CPU, or wants one; beside others it may have to wait for its turn."""
    meter, ended = Meter(), threading.Event()

    def work() -> None:
        while not ended.is_set():
            pass

    thread = threading.Thread(target=work)
    thread.start()
    meter.read([os.getpid()], time.monotonic())
    try:
        time.sleep(0.2)
        used = until(lambda: counted(meter), 30, "a CPU used or wanted")
    finally:
        ended.set()
        thread.join()
    assert 0 < used.main == used.had <= used.wanted


def counted(meter: Meter) -> Usage | None:
    """Return what this process has used since the last look, if it was enough to say so."""
    used = meter.read([os.getpid()], time.monotonic())
    return used if used.wanted > 0.5 and used.had > 0 else None


def test_a_process_that_has_ended_has_no_memory() -> None:
    """A child may end between two lines."""
    child = subprocess.Popen(["true"])
    child.wait()
    assert resident_of(child.pid) == 0
    assert resident_of(os.getpid()) > 2**20
