"""The parts of the tests: each is a run of pytest with an end and a record of what came of it."""

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
"""Seconds for the end of a run that has been interrupted."""
CRASHED = "???"
"""The phase of a test whose process has crashed."""
SOME_FAILED = 1
"""Pytest's exit code of a run that went through all of its tests."""


@dataclass(frozen=True)
class Part:
    """Tests that are run together."""

    name: str
    program: str
    options: tuple[str, ...]
    """What a run of some of its tests needs, too."""
    spread: tuple[str, ...]
    """How its tests share the machine, and which they are."""
    environment: Mapping[str, str]

    def run(self, seconds: float) -> Run:
        """Run all of its tests."""
        return self._run(self.name, self.spread, seconds)

    def run_again(self, tests: Sequence[str], seconds: float) -> Run:
        """Run some of its tests once more, one after the other."""
        return self._run(f"{self.name}-again", (*ALONE, *tests), seconds)

    def _run(self, name: str, what: tuple[str, ...], seconds: float) -> Run:
        folder = FOLDER / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command = (self.program, *RECORDED, *self.options, *what)
        told = {**self.environment, "CELERYKIT_TEST_OUTCOMES": str(folder)}
        began = time.monotonic()
        code = bounded(command, told, seconds)
        said = {0: "ok", None: f"not ended within {seconds:.0f} s"}.get(code, "failed")
        say(f"[{time.monotonic() - began:6.1f} s] {said}: {' '.join((Path(command[0]).name, *command[1:]))}")
        if code is None:
            for stacks in folder.glob("*.stacks"):
                say(stacks.read_text(encoding="utf-8"))
        return read(folder, code, time.monotonic() - began)


@dataclass(frozen=True)
class Failure:
    """The first that was seen of a test that failed."""

    test: str
    when: str
    """The phase: setup, call, teardown, collect, or ``???`` where the process of the test has crashed."""
    at: str
    said: str
    log: str

    @property
    def cause(self) -> tuple[str, str]:
        """What tests have in common that share a broken fixture: each of them fails in the same words."""
        return (self.when, self.said) if self.when == "setup" else (self.when, self.test)


@dataclass(frozen=True)
class Run:
    """What came of a run."""

    code: int | None
    """Pytest's exit code, None if it did not end in time."""
    failures: Mapping[str, Failure]
    passed: frozenset[str]
    missing: frozenset[str]
    """Those that were found and not run, such as when process after process has crashed."""
    running: Mapping[str, float]
    """How many seconds before the end each of those began that had not ended."""
    seconds: float
    """How long the run took."""

    @property
    def is_whole(self) -> bool:
        """Whether all its tests ran, so that it says which of them failed."""
        collected = all(failure.when != "collect" for failure in self.failures.values())
        some_failed = self.code == SOME_FAILED and bool(self.failures)
        return (self.code == 0 or some_failed) and collected and not self.missing


def read(folder: Path, code: int | None, seconds: float) -> Run:
    """Return what the record of a run says that has just ended."""
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
    """Run a command and return its exit code, None if it did not end in time.

    Where it does not, each of its processes shows its stacks, as far as it can, and is ended.
    """
    # A group of its own, so that nothing of it is left.
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
    """Let tests take away what they have started, and pytest say what came of them; then kill what is left."""
    _send(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(TO_END)
    _send(process.pid, signal.SIGKILL)


def _send(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
