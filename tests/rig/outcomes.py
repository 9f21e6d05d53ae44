"""Keep what came of each test where a killed run leaves it: ``pytest -p tests.rig.outcomes``.

``scripts/parts.py`` reads it. A line is written when a phase of a test ends, so nothing waits for the end of the run.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import signal
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

FOLDER = "CELERYKIT_TEST_OUTCOMES"
"""The variable that names the folder for them."""


class Outcomes:
    """Writes ``outcomes.jsonl``, and a log of each failure beside it."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._failures = 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Take note of which tests there are: without it, nobody would miss one."""
        self._write({"collected": [plain(test) for test in ids]})

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Take note of a test that begins: of a run that hangs, it may be the last word."""
        self._write({"begins": plain(nodeid), "at": time.time()})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of a phase of a test; a worker that has crashed has the phase ``???``."""
        self._add(report, report.when or "")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take note of a file that cannot be read: nobody knows which tests are missing."""
        if report.failed:
            self._add(report, "collect")

    def _add(self, report: Any, when: str) -> None:
        seconds = round(getattr(report, "duration", 0.0), 2)
        told = {"test": plain(report.nodeid), "when": when, "outcome": report.outcome, "seconds": seconds}
        if report.failed:
            at = datetime.now(timezone.utc).isoformat(timespec="seconds")
            told |= {"at": at, "message": first_line(report), "log": self._log(report, when)}
        self._write(told)

    def _write(self, told: dict[str, Any]) -> None:
        with (self._folder / "outcomes.jsonl").open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(told)}\n")

    def _log(self, report: Any, when: str) -> str:
        """Write all that is known of a failure, and return where."""
        self._failures += 1
        name = re.sub(r"\W+", "-", plain(report.nodeid).rpartition("/")[2])[:100]
        path = self._folder / f"{self._failures:03}-{name}.log"
        sections = [f"----- {title} -----\n{text}" for title, text in report.sections]
        text = "\n".join([f"{plain(report.nodeid)} ({when})", report.longreprtext, *sections])
        path.write_text(f"{text}\n", encoding="utf-8", errors="replace")
        return str(path)


def plain(test: str) -> str:
    """Return a test's name without the group that xdist appends to it."""
    return test.rpartition("@")[0] if test.rfind("@") > test.rfind("]") else test


def first_line(report: Any) -> str:
    """Return what a failure says in one line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = (crash.message if crash else str(report.longrepr)).strip().splitlines()
    return str(lines[0]) if lines else "it says nothing"


def pytest_configure(config: pytest.Config) -> None:
    """Let each process show its stacks when it is asked, and the first one keep what came of the tests."""
    folder = Path(os.environ[FOLDER])
    # Open as long as the process is, and empty unless somebody asks.
    faulthandler.register(signal.SIGUSR1, file=(folder / f"{os.getpid()}.stacks").open("w"), all_threads=True)
    # What starts in the background of a shell ignores it; a run whose time is over is ended by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(folder))
