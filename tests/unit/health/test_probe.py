"""The command that health checks run every few seconds."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from celerykit.health import probe, statefile

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Run

STARTS = 4
"""Starts of an empty program. A probe takes the CPU of 2.5 of them, `import celery.app` that of 15."""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Leave the state file of a live and ready worker: this process."""
    monkeypatch.setenv("CELERYKIT_STATE_DIR", str(tmp_path))
    target = statefile.path(str(tmp_path), "worker", "default")
    statefile.write(target, statefile.State(os.getpid(), time.monotonic() + 60.0, True, "consuming celery"))
    return target


def test_the_answer_is_an_exit_code_and_a_reason(worker: str, celerykit: Run) -> None:
    """`celerykit probe worker --ready` ends with 0 or 1 and says why in one line."""
    yes = celerykit("probe", "worker", "--ready")
    no = celerykit("probe", "worker", "mail", "--live")
    assert (yes.returncode, yes.stdout, yes.stderr) == (0, "ready: consuming celery\n", "")
    assert (no.returncode, no.stdout) == (1, "not live: no state file: not started yet, or ended\n")


@pytest.mark.parametrize(
    "question",
    [
        [],
        ["worker"],
        ["--live"],
        ["worker", "--live", "--ready"],
        ["flower", "--live"],
        ["beat", "mail", "--live"],
        ["worker", "a", "b", "--live"],
        ["any", "mail", "--live"],
    ],
)
def test_a_wrong_question_is_no_answer(question: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A health check with a typing error is told so (2), and not taken for a dead worker (1)."""
    assert probe.main(question) == 2
    assert capsys.readouterr().err.startswith("usage: celerykit probe ")


def test_beat_has_a_probe_too(worker: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Beat is judged by its own file and not by a worker's."""
    assert probe.main(["beat", "--live"]) == 1
    os.replace(worker, worker.replace("worker-default", "beat"))
    assert probe.main(["beat", "--live"]) == 0


@pytest.mark.parametrize(("command", "code"), [("python\0-m\0shop\0", 0), ("/bin/celerykit\0worker\0mail\0", 1)])
def test_what_is_neither_worker_nor_beat_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, code: int
) -> None:
    """The image's own check says nothing against a client that runs from it; a worker that only begins is not ready."""
    monkeypatch.setenv("CELERYKIT_STATE_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(probe, "PROCESSES", str(tmp_path))
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "cmdline").write_text(command)
    assert probe.main(["any", "--started"]) == code


@pytest.mark.parametrize(
    ("ready", "started", "alive_for", "code"),
    [(True, True, 60, 0), (False, True, 60, 0), (False, False, 60, 1), (True, True, -1, 1)],
)
def test_an_outage_is_no_reason_to_end_a_worker(
    worker: str, ready: bool, started: bool, alive_for: float, code: int
) -> None:
    """Who was ready once and lives is well, though its broker is away; who never was, or is stuck, is not."""
    state = statefile.State(os.getpid(), time.monotonic() + alive_for, ready, "the broker is away", started=started)
    statefile.write(worker, state)
    assert probe.main(["any", "--started"]) == code


def test_a_probe_imports_next_to_nothing(worker: str) -> None:
    """Neither Celery nor anything else that costs time is loaded."""
    program = "import sys, celerykit.__main__ as m; m.main(); print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", program, "probe", "worker", "--live"], capture_output=True, text=True, check=True
    )
    loaded = set(answer.stdout.splitlines()[-1].split())
    assert "celerykit.health.statefile" in loaded
    assert loaded & {"celery", "kombu", "dataclasses", "argparse", "typing", "pathlib", "celerykit.cli"} == set()


def test_a_probe_costs_little_more_than_an_empty_program(worker: str) -> None:
    """A check every few seconds for ever costs the machine next to nothing, however fast that is."""
    probes, empty = [], []
    for _ in range(5):
        empty.append(cpu_of("-c", "pass"))
        probes.append(cpu_of("-m", "celerykit", "probe", "worker", "--live"))
    assert statistics.median(probes) < STARTS * statistics.median(empty), (probes, empty)


def cpu_of(*arguments: str) -> float:
    """Return the seconds of CPU that a run of Python takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
