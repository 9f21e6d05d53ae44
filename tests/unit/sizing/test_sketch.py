"""Quantiles of what jobs took, from counts alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celerykit.sizing.sketch import Sketch

ACCURACY = 0.05
DURATIONS = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)), min_size=1)


def sketch(values: list[float]) -> Sketch:
    """Return a sketch of some numbers."""
    made = Sketch(ACCURACY)
    for value in values:
        made.add(value)
    return made


@settings(deadline=None)  # a busy machine may pause it
@given(DURATIONS, st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_wrong_by_its_accuracy_at_most(values: list[float], part: float) -> None:
    """So that the size of a pool follows from what its jobs did."""
    exact = sorted(values)[int(part * (len(values) - 1))]
    assert sketch(values).quantile(part) == pytest.approx(exact, rel=ACCURACY + 1e-9)
    assert sketch(values).sum == pytest.approx(sum(values))


@settings(deadline=None)  # a busy machine may pause it
@given(DURATIONS, DURATIONS)
def test_two_hours_are_one_when_they_are_joined(first: list[float], second: list[float]) -> None:
    """It makes no difference when a job was counted."""
    both = sketch(first)
    both.merge(sketch(second))
    assert [both.quantile(part) for part in (0, 0.5, 1)] == [
        sketch(first + second).quantile(part) for part in (0, 0.5, 1)
    ]


def test_nothing_has_no_quantile() -> None:
    """No job is not one that took no time."""
    assert Sketch(ACCURACY).quantile(0.5) is None
