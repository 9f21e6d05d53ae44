"""What the container tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.containers import Rig
from tests.rig.ledger import folder_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, so that at the end nobody waits for it."""
    items.sort(key=lambda item: "outage" not in item.name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Keep the logs of a failed test's containers while they are still there."""
    report = yield
    rig = getattr(item, "funcargs", {}).get("rig")
    if report.failed and rig is not None:
        report.sections.append(("containers", rig.story()))
    return report


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for a ledger and a broker's data, in memory: its syncs wait for no other test and no image build."""
    with folder_in_memory() as made:
        yield made


@pytest.fixture
def rig(folder: Path) -> Iterator[Rig]:
    """An empty rig of one test."""
    rig = Rig(folder)
    try:
        yield rig
    finally:
        rig.close()


@pytest.fixture
def stack(rig: Rig) -> Rig:
    """A rig with its broker."""
    rig.redis()
    return rig
