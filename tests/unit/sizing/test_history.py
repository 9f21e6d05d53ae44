"""What is kept of jobs for the next start."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from celerykit.errors import ConfigurationError
from celerykit.sizing import history
from celerykit.sizing.history import Jobs, Record

if TYPE_CHECKING:
    from pathlib import Path

JOBS = Jobs(jobs=200, wall=0.5, cpu=0.1, p50=0.4, p95=1.0, p99=2.0, growth=1e6)
RECORD = Record("shop", "prefork", "2026-01-01T00:00:00+00:00", 60.0, 4, 1.5, 1.0, 2e7, JOBS, {"shop.mail": JOBS})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """And nothing else is left in the folder."""
    target = history.path({"STATE_DIRECTORY": f"{tmp_path}:/elsewhere"}, "mail")
    history.write(target, RECORD)
    assert history.read(target, "shop") == RECORD
    assert [path.name for path in tmp_path.iterdir()] == ["profile-mail.json"]


def test_nothing_is_known_before_the_first_start(tmp_path: Path) -> None:
    """That is no mistake of anybody's."""
    assert history.read(tmp_path / "profile-mail.json", "shop") is None


@pytest.mark.parametrize(
    ("growth", "child", "kept_growth", "kept_child"),
    [(3e8, 1e7, 3e8, 2e7), (1e5, 5e7, 1e6, 5e7), (None, None, 1e6, 2e7)],
)
def test_few_jobs_add_their_memory_to_what_is_known_of_many(
    growth: float | None, child: float | None, kept_growth: float, kept_child: float
) -> None:
    """Nothing else: how long they took says little of the next ones, and less memory none."""
    few = replace(RECORD, child=child, all=replace(JOBS, jobs=3, wall=9.0, growth=growth))
    expected = replace(RECORD, child=kept_child, all=replace(JOBS, growth=kept_growth))
    assert RECORD.with_memory_of(few) == expected


def changed(**values: Any) -> str:
    """Return a file with other values at its top."""
    record = {"format": 1, **json.loads(json.dumps(RECORD, default=vars))}
    return json.dumps({**record, **values})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "not json",
        changed(format=2),
        changed(more=1),
        changed(concurrency=0),
        changed(all={}),
        changed(all={**vars(JOBS), "wall": -1}),
        changed(all={**vars(JOBS), "wall": "long"}),
        changed(tasks=[]),
        b"\xff".decode("latin-1"),
    ],
)
def test_a_file_that_is_not_right_is_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    """Whatever stands in it."""
    target = tmp_path / "profile-mail.json"
    target.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigurationError) as refused:
        history.read(target, "shop")
    (finding,) = refused.value.findings
    assert (finding.value, finding.source) == ("profile-mail.json", str(tmp_path))
    assert "not readable" in finding.problem
    assert "Remove it" in finding.remedy


def test_another_app_s_file_is_not_believed(tmp_path: Path) -> None:
    """A host may have had another app before."""
    history.write(tmp_path / "profile-mail.json", RECORD)
    with pytest.raises(ConfigurationError, match="is of the app shop, not of bank"):
        history.read(tmp_path / "profile-mail.json", "bank")


@pytest.mark.parametrize(("jobs", "wall", "enough"), [(100, 0.001, True), (99, 0.001, False), (2, 300.0, True)])
def test_a_few_jobs_say_something_if_they_are_long(jobs: int, wall: float, enough: bool) -> None:
    """A handful of short ones may have been anything."""
    assert replace(RECORD, all=replace(JOBS, jobs=jobs, wall=wall)).is_enough is enough


@pytest.mark.parametrize(("queued", "arrival"), [(None, None), (0.05, 200 / 60), (0.5, None)])
def test_jobs_that_queue_do_not_say_how_many_come(queued: float | None, arrival: float | None) -> None:
    """They come as fast as they are done; so may those of which nobody knows how long they were in the queue."""
    assert replace(RECORD, all=replace(JOBS, queued_p50=queued, queued_p95=queued)).profile(1e8).arrival == arrival


def test_jobs_whose_cpu_time_nobody_knows_count_as_busy() -> None:
    """More of them at once is for those of which it is known that they wait."""
    assert replace(RECORD, all=replace(JOBS, cpu=None)).profile(1e8).busy == 1
    assert RECORD.profile(1e8).busy == pytest.approx(0.2)
