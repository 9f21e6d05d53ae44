"""Keep what the tests of a run have seen in docs/brokers.json: ``pytest -p tests.brokers.recording``.

A run in which a test fails keeps nothing. ``scripts/brokers_doc.py --write`` makes the page of it.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from tests.rig.record import Record, machine, versions

RECORD = Record("brokers")
SEEN: list[tuple[str, str, str, str, str | float]] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take note of a test that has passed."""
    SEEN.extend(tuple(value) for name, value in report.user_properties if report.when == "call" and name == "seen")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Add it to what other runs have seen, where this is not just one process of several."""
    if not SEEN or exitstatus or hasattr(session.config, "workerinput"):
        return
    record: dict[str, Any] = RECORD.read()
    told = {"date": datetime.now(timezone.utc).isoformat(), "machine": machine(), "versions": versions()}
    for part, kind, scheme, name, value in SEEN:
        held = record.setdefault(part, {}).setdefault(kind, {"seen": {}})
        held.update(told, scheme=scheme)
        held["seen"][name] = value
    RECORD.write(record)
