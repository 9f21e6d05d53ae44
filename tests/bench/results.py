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
    """A ratio to the first side that is promised for a metric; with a unit, the figure itself."""

    metric: str
    at_least: float = -float("inf")
    at_most: float = float("inf")
    unit: str = ""

    def is_met(self, measured: float) -> bool:
        """Say whether a measured ratio or figure keeps the promise."""
        return self.at_least <= measured <= self.at_most

    def __str__(self) -> str:
        bound = f"<= {self.at_most:g}" if self.at_most < float("inf") else f">= {self.at_least:g}"
        return f"{bound} {self.unit}".rstrip()


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
class Measured:
    """All rounds of a cell, on which machine and when."""

    date: str
    versions: dict[str, str]
    machine: dict[str, Any]
    load: float
    """Processes that ran on the machine when the cell began: the benchmark's own are not among them."""
    rounds: list[Round]


@dataclass(frozen=True)
class Result(Measured):
    """The rounds of a cell with two sides, each in every round."""

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
