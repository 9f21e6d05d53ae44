"""Keep what the tests of a run have seen in docs/brokers.json: ``pytest -p tests.brokers.recording``.

Of a kind of which a test has failed, nothing is kept. ``scripts/brokers_doc.py --write`` makes the page of it.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from tests.rig.record import Record, machine, versions

RECORD = Record("brokers")
SEEN: list[tuple[str, str, str, str, str | float]] = []
FAILED: set[tuple[str, str]] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take note of a test."""
    told = [(name, tuple(value)) for name, value in report.user_properties if name in {"seen", "kind"}]
    if report.failed:
        FAILED.update(value for name, value in told if name == "kind")
    elif report.when == "call":
        SEEN.extend(value for name, value in told if name == "seen")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Add it to what other runs have seen, where this is not just one process of several."""
    if hasattr(session.config, "workerinput"):
        return
    record: dict[str, Any] = RECORD.read()
    told = {"date": datetime.now(timezone.utc).isoformat(), "machine": machine(), "versions": versions()}
    for part, kind, scheme, name, value in (row for row in SEEN if row[:2] not in FAILED):
        held = record.setdefault(part, {}).setdefault(kind, {"seen": {}})
        held.update(told, scheme=scheme)
        held["seen"][name] = value
    RECORD.write(record)
