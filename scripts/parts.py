"""The parts of the tests: each is a run of pytest with a time limit and a record of its results."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from console import say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FOLDER = Path(".cache/tests")
RECORDED = ("-p", "tests.rig.outcomes", "-p", "tests.rig.groups")
ALONE = ("--numprocesses", "1")
"""One test at a time, in a process whose crash does not end the run."""
TO_END = 60.0
"""Seconds for the end of an interrupted run."""
CRASHED = "???"
"""The phase of a test in a crashed process."""
SOME_FAILED = 1
"""Pytest's exit code of a complete run with failed tests."""


@dataclass(frozen=True)
class Part:
    """Tests that are run together."""

    name: str
    program: str
    options: tuple[str, ...]
    """Options that a run of some of its tests needs, too."""
    spread: tuple[str, ...]
    """The selection of tests, and the options of their parallel run."""
    environment: Mapping[str, str]

    def run(self, seconds: float) -> Run:
        """Run all of its tests."""
        return self._run(self.name, self.spread, seconds)

    def run_again(self, tests: Sequence[str], seconds: float) -> Run:
        """Run some of its tests again, one after the other."""
        return self._run(f"{self.name}-again", (*ALONE, *tests), seconds)

    def _run(self, name: str, selection: tuple[str, ...], seconds: float) -> Run:
        folder = FOLDER / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command = (self.program, *RECORDED, *self.options, *selection)
        environ = {**self.environment, "CELERYKIT_TEST_OUTCOMES": str(folder)}
        began = time.monotonic()
        code = bounded(command, environ, seconds)
        outcome = {0: "ok", None: f"not ended within {seconds:.0f} s"}.get(code, "failed")
        say(f"[{time.monotonic() - began:6.1f} s] {outcome}: {' '.join((Path(command[0]).name, *command[1:]))}")
        if code is None:
            for stacks in folder.glob("*.stacks"):
                say(stacks.read_text(encoding="utf-8"))
        return read(folder, code, time.monotonic() - began)


@dataclass(frozen=True)
class Failure:
    """The first failure of a test."""

    test: str
    when: str
    """The phase: setup, call, teardown, collect, or ``???`` after a crash of the process."""
    at: str
    message: str
    log: str

    @property
    def cause(self) -> tuple[str, str]:
        """The cause of the failure: tests that share a broken fixture have an equal cause."""
        return (self.when, self.message) if self.when == "setup" else (self.when, self.test)


@dataclass(frozen=True)
class Run:
    """The results of a run."""

    code: int | None
    """Pytest's exit code, None after a time-out."""
    failures: Mapping[str, Failure]
    passed: frozenset[str]
    missing: frozenset[str]
    """The collected tests that did not run, such as after several crashes."""
    running: Mapping[str, float]
    """The unfinished tests, with the seconds from their start to the end of the run."""
    seconds: float
    """The duration of the run."""

    @property
    def is_whole(self) -> bool:
        """Whether all tests ran, so that the failures are complete."""
        collected = all(failure.when != "collect" for failure in self.failures.values())
        some_failed = self.code == SOME_FAILED and bool(self.failures)
        return (self.code == 0 or some_failed) and collected and not self.missing


def read(folder: Path, code: int | None, seconds: float) -> Run:
    """Return the results in the record of a finished run."""
    file = folder / "outcomes.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    collected = {test for line in lines for test in line.get("collected", ())}
    phases = [line for line in lines if "outcome" in line]
    failures: dict[str, Failure] = {}
    for phase in phases:
        if phase["outcome"] == "failed":
            failures.setdefault(phase["test"], Failure(**{field.name: phase[field.name] for field in fields(Failure)}))
    passed = {phase["test"] for phase in phases if (phase["when"], phase["outcome"]) == ("call", "passed")}
    missing = collected - {phase["test"] for phase in phases}
    ended = {phase["test"] for phase in phases if phase["when"] in {"teardown", CRASHED}}
    running = {line["begins"]: time.time() - line["at"] for line in lines if "begins" in line}
    running = {test: ago for test, ago in running.items() if test not in ended}
    return Run(code, failures, frozenset(passed - set(failures)), frozenset(missing), running, seconds)


def bounded(command: Sequence[str | Path], environment: Mapping[str, str], seconds: float) -> int | None:
    """Run a command and return its exit code, None after a time-out.

    After a time-out, each of its processes prints its stacks, if it can, and is ended.
    """
    # In a process group of its own, so that no process of it remains.
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            _send(process.pid, signal.SIGUSR1)
            time.sleep(1)  # for the stacks
            _end(process)
            return None
        except KeyboardInterrupt:
            _end(process)
            raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the tests, so that they clean up and pytest writes its results; then kill all remaining processes."""
    _send(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(TO_END)
    _send(process.pid, signal.SIGKILL)


def _send(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
