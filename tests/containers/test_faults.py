"""A small part of `make faults`: what kills, pauses and networks do to workers on Redis loses no job."""

from __future__ import annotations

import pytest

from tests.faults.__main__ import SEED, SHARE
from tests.faults.cases import CASES

MOST = 8
"""Faults of a kind: more take minutes, and find little that these do not."""


@pytest.mark.slow_with("stopped", "killed")
@pytest.mark.parametrize("name", CASES)
def test_no_job_is_lost_to_a_fault(name: str) -> None:
    """Every accepted job is done, none is left behind, and a long one runs once."""
    case = CASES[name]
    outcome = case.run(SEED, min(MOST, max(1, case.events // SHARE)), {})
    assert case.is_kept(outcome), str(outcome)
