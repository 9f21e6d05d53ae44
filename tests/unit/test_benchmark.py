"""What the benchmark of sizes makes of its numbers, and that its jobs are the same each time."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest

from tests.bench.loads import workloads
from tests.bench.outcomes import BEST, BEST_PREFORK, Outcome, Promise, best_of, recovered
from tests.bench.plots import plot
from tests.bench.sizes import USUAL, WORKLOADS, Workload
from tests.bench.sizes_page import CELLS, section

NOW: dict[str, Any] = {"date": "2026-01-01", "versions": {}, "machine": {}, "load": 0.0, "seconds": 1.0, "chosen": {}}


def outcome(*rounds: dict[str, dict[str, float]], **best: str) -> Outcome:
    """Return what a cell of so many rounds has found."""
    return Outcome(**NOW, best={BEST: best.get("any", ""), BEST_PREFORK: best.get("prefork", "")}, rounds=list(rounds))


@pytest.mark.parametrize("load", workloads.LOADS)
def test_a_workload_is_the_same_each_time(load: str) -> None:
    """Every program, in every round, gets the same jobs in the same order."""
    assert workloads.jobs(load) == workloads.jobs(load)
    assert sorted(map(str, workloads.jobs(load))) == sorted(map(str, workloads.LOADS[load]))


def test_the_mixed_workload_is_what_the_page_says() -> None:
    """80 % of its jobs wait for 50 to 500 ms, and the others use CPU."""
    jobs = workloads.jobs("mixed")
    waits = [job.wait for job in jobs if job.wait]
    assert len(waits) == 0.8 * len(jobs) and min(waits) >= 0.05 and max(waits) <= 0.5
    assert {job.cpu for job in jobs if not job.wait} == {0.02}
    # In the list's own order, those that wait would come first.
    assert [bool(job.wait) for job in jobs] != sorted((bool(job.wait) for job in jobs), reverse=True)


def test_the_memory_of_a_job_is_filled() -> None:
    """Memory that is only promised by the kernel would kill nobody."""
    held = workloads.Job(memory=workloads.MB).begin()
    assert len(held) == workloads.MB and set(held) == {1}


def test_the_best_size_is_sound() -> None:
    """A size whose processes are killed for want of memory is nobody's choice, however fast it is."""
    measured = {"a": {"jobs/s": 9.0, "OOM kills": 1}, "b": {"jobs/s": 5.0, "OOM kills": 0}, "c": {"jobs/s": 7.0}}
    assert best_of(measured, ["a", "b", "c"]) == "c"
    assert best_of(measured, ["a", "b"]) == "b"


def test_a_ratio_is_taken_within_a_round() -> None:
    """Rates of different rounds are never compared, and a round without one of both does not count."""
    found = outcome(
        {"kit": {"jobs/s": 10.0}, "prefork 2": {"jobs/s": 20.0}},
        {"kit": {"jobs/s": 90.0}, "prefork 2": {"jobs/s": 100.0}},
        {"kit": {"jobs/s": 1.0}},
        prefork="prefork 2",
    )
    ratio = found.ratio("kit", BEST_PREFORK, "jobs/s")
    assert ratio is not None and (ratio.least, ratio.most) == (0.5, 0.9)


def test_added_jobs_have_a_price_in_memory() -> None:
    """What the page says is the memory of one job a second more; where there is none more, there is no price."""
    found = outcome(
        {
            "stock": {"jobs/s": 10.0, "PSS MB": 80.0},
            "kit": {"jobs/s": 60.0, "PSS MB": 180.0},
            "16": {"jobs/s": 10.0, "PSS MB": 90.0},
        }
    )
    price = found.price("kit", "stock")
    assert price is not None and price.median == 2.0
    assert found.price("16", "stock") is None


@pytest.mark.parametrize(
    ("promise", "met"),
    [
        (Promise("", "kit", "jobs/s", "stock", at_least=10), True),
        (Promise("", "kit", "jobs/s", "stock", at_least=10.1), False),
        (Promise("", "kit", "PSS MB", "stock", at_most=1), False),
        (Promise("", "kit", "lost", at_most=0), True),
        (Promise("", "stock", "lost", at_most=0), False),
        (Promise("", "taskiq", "jobs/s", "stock", at_least=0.1), False),
        (Promise("", "kit", "OOM kills", at_most=0), False),
    ],
)
def test_a_promise_is_kept_by_a_number_alone(promise: Promise, met: bool) -> None:
    """What is worse than its bar is missed, and so is what was not measured."""
    stock, kit = {"jobs/s": 9.0, "PSS MB": 80.0, "lost": 3}, {"jobs/s": 90.0, "PSS MB": 80.1, "lost": 0}
    assert promise.is_met(outcome({"stock": stock, "kit": kit})) is met


def test_recovery_is_the_first_moment_near_the_best() -> None:
    """Not the first fast second, and never if it never was."""
    slow, fast = [100 + i / 2 for i in range(40)], [120 + i / 20 for i in range(400)]
    assert recovered([*slow, *fast], changed=100.0, best=20.0, horizon=40.0) == 20.0
    assert recovered(slow, changed=100.0, best=20.0, horizon=40.0) == 40.0
    assert recovered([90.0 + i / 20 for i in range(200)], changed=100.0, best=20.0, horizon=40.0) == 40.0


@pytest.mark.parametrize("cell", WORKLOADS, ids=lambda cell: cell.name)
def test_every_workload_tries_what_people_set(cell: Workload) -> None:
    """As many processes as CPUs and 16 are among the sizes, each once."""
    names = [contender.name for contender in (*cell.rivals, *cell.grid)]
    assert len(set(names)) == len(names)
    assert {one.name for one in USUAL} <= {one.name for one in cell.grid}


def test_the_page_says_what_is_missed() -> None:
    """A bar that is not reached is no footnote."""
    cell = CELLS["tuned-mixed"]
    stock, kit = {"jobs/s": 9.0, "PSS MB": 80.0}, {"jobs/s": 9.0, "PSS MB": 82.0, "lost": 0}
    processes, threads = {"jobs/s": 99.0, "PSS MB": 700.0}, {"jobs/s": 300.0, "PSS MB": 70.0}
    measured = {"stock": stock, "kit": kit, "prefork 32": processes, "2 x threads 50": threads}
    said = section(cell, outcome(measured, prefork="prefork 32", any="2 x threads 50"))
    missed = next(line for line in said.splitlines() if "the best processes set by hand |" in line)
    assert missed.endswith("| 0.0909 | >= 0.95 | **missed** |")
    assert "| prefork 32 | 99 | 700 |  | 6.89 |" in said
    assert "| 2 x threads 50 | 300 | 70 |  | none |" in said


def points(picture: str) -> dict[str, tuple[float, float]]:
    """Return where each contender of a plot is; its name is written after its point."""
    found = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)".*?>(\w+)</text>', picture, re.DOTALL)
    return {name: (float(across), float(down)) for across, down, name in found}


def test_a_plot_shows_everybody_where_they_are() -> None:
    """Who does more is higher, who takes more memory is farther right, and no name hides another."""
    found = outcome({name: {"jobs/s": 10.0 + place / 10, "PSS MB": 50.0} for place, name in enumerate("abcdef")})
    heights = {place: name for name, (_, place) in points(plot("cell", found)).items()}
    assert "".join(heights[place] for place in sorted(heights, reverse=True)) == "abcdef"
    lines = [float(y) for y in re.findall(r' y="([\d.]+)"[^>]*>[a-f]</text>', plot("cell", found))]
    assert len(lines) == 6 and all(abs(one - other) >= 13 for one, other in combinations(lines, 2))
    far = points(plot("cell", outcome({"a": {"jobs/s": 1.0, "PSS MB": 50.0}, "b": {"jobs/s": 1.0, "PSS MB": 500.0}})))
    assert far["a"][0] < far["b"][0] and far["a"][1] == far["b"][1]
