"""What a cell has measured: rounds of both sides, their ratio, and whether its bar is met."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Round = dict[str, dict[str, float]]
"""One measurement of each side, one after the other: side, metric, value."""


@dataclass(frozen=True)
class Bar:
    """A ratio to the first side that is promised for a metric."""

    metric: str
    at_least: float = 0.0
    at_most: float = float("inf")

    def is_met(self, ratio: float) -> bool:
        """Say whether a measured ratio keeps the promise."""
        return self.at_least <= ratio <= self.at_most

    def __str__(self) -> str:
        return f">= {self.at_least:g}" if self.at_least else f"<= {self.at_most:g}"


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and how far they lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Sum up what the rounds have given."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{rounded(self.median)} ({rounded(self.least)} to {rounded(self.most)})"


@dataclass(frozen=True)
class Result:
    """All rounds of a cell, on which machine and when."""

    date: str
    versions: dict[str, str]
    machine: dict[str, Any]
    load: float
    """Processes that ran on the machine when the cell began: the benchmark's own are not among them."""
    rounds: list[Round]

    @property
    def metrics(self) -> list[str]:
        """What was measured."""
        return list(next(iter(self.rounds[0].values())))

    def spread(self, side: str, metric: str) -> Spread:
        """Return what one side has reached."""
        return Spread.of([measured[side][metric] for measured in self.rounds])

    def ratio(self, side: str, base: str, metric: str) -> Spread:
        """Return how many times ``base`` a side has reached, round by round."""
        return Spread.of([measured[side][metric] / measured[base][metric] for measured in self.rounds])


def results(record: Mapping[str, Any]) -> dict[str, Result]:
    """Return what a record holds, by cell."""
    return {name: Result(**held) for name, held in record.items()}


def rounded(number: float) -> str:
    """Return a number as exactly as such a measurement is: three digits, thousands marked."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
