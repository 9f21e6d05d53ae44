"""What processes took, read from beside them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from celerykit.sizing import meters, tally
from celerykit.sizing.tally import Seen, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20
CHILD = """
import sys, time
for line in sys.stdin:
    what, amount = line.split()
    if what == "burn":
        end = time.process_time() + float(amount)
        while time.process_time() < end:
            pass
    else:
        hoard = bytearray(b"x") * int(amount)
        del hoard
    print("done", flush=True)
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """Have a process that does as it is told."""
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=-1, stdout=-1, text=True) as child:
        tell(child, "hold 1")
        yield child


def tell(child: subprocess.Popen[str], what: str) -> None:
    """Have it do something, and wait until it has."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{what}\n")
    child.stdin.flush()
    assert child.stdout.readline() == "done\n"


def test_a_job_has_the_cpu_time_that_its_child_used_since_the_last_one(child: subprocess.Popen[str]) -> None:
    """To the microsecond, not in the kernel's ticks."""
    meter = meters.OfChildren()
    began = meter.begin(child.pid)
    tell(child, "burn 0.2")
    assert meter.end(began) == pytest.approx(0.2, abs=0.01)
    time.sleep(0.05)
    tell(child, "burn 0.003")
    assert meter.end(meter.begin(child.pid)) == pytest.approx(0.003, abs=0.002)


def test_a_child_s_growth_is_the_most_it_ever_had_above_what_it_had_before(child: subprocess.Popen[str]) -> None:
    """However short it had it, and whatever is left of it; the same again is no news."""
    growth = meters.Growth()
    assert growth.look(child.pid) is None
    tell(child, f"hold {50 * MIB}")
    assert growth.look(child.pid) == pytest.approx(50 * MIB, rel=0.1)
    tell(child, f"hold {20 * MIB}")
    assert growth.look(child.pid) is None
    tell(child, f"hold {70 * MIB}")
    assert growth.look(child.pid) == pytest.approx(70 * MIB, rel=0.1)


def test_a_process_that_has_ended_is_no_error(child: subprocess.Popen[str]) -> None:
    """Children end when they like, and so do jobs."""
    growth, meter = meters.Growth(), meters.OfChildren()
    began = meter.begin(child.pid)
    growth.look(child.pid)
    child.kill()
    child.wait()
    assert (growth.look(child.pid), meter.end(began), meters.delay(child.pid)) == (None, None, 0.0)


def test_what_a_process_shares_with_nobody_is_no_more_than_it_has() -> None:
    """It is what another one like it would add."""
    assert 0 < meters.private(os.getpid()) <= meters.memory(os.getpid()).resident


def test_names_without_end_do_not_fill_the_memory() -> None:
    """Tasks beyond the first 200 are counted as one."""
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    tally.by_task((Seen(f"task{number % 300}", 0.1, 0.01, None) for number in range(600)), tallies)
    assert len(tallies) == tally.MOST_TASKS + 1
    assert tallies[tally.OTHERS].jobs == 200
    assert tally.all_of(tallies).jobs == 600


def test_a_summary_has_means_and_quantiles_without_what_jobs_waited_for_a_cpu() -> None:
    """Of several hours as of one."""
    hours: list[defaultdict[str, Tally]] = [defaultdict(Tally), defaultdict(Tally)]
    for number in range(100):
        tally.by_task([Seen("mail", 0.1 + number / 1000, 0.05, number or None)], hours[number % 2])
    found = tally.joined(*hours)["mail"].summary(delay=1.0)
    assert (found.jobs, found.growth) == (100, 99)
    assert found.wall == pytest.approx(0.1395)
    assert found.cpu == pytest.approx(0.05)
    assert (found.p50, found.p95, found.p99) == pytest.approx((0.14, 0.182, 0.186), rel=0.06)
