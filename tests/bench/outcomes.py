"""What a cell of sizes has found, and whether it is what was promised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.bench.results import Measured, Spread

if TYPE_CHECKING:
    from collections.abc import Mapping

BEST, BEST_PREFORK = "best", "best prefork"
"""Who of the sizes set by hand did most, of all and of those that are processes: known afterwards."""


@dataclass(frozen=True)
class Outcome(Measured):
    """The rounds of a cell in which not every contender has a part."""

    seconds: float
    """How long it took."""
    best: dict[str, str]
    chosen: dict[str, str]
    """The size that a worker has chosen by itself, by contender: as it said at its start."""

    @property
    def names(self) -> list[str]:
        """Everybody who took part, as they first did."""
        return list(dict.fromkeys(name for measured in self.rounds for name in measured))

    def spread(self, name: str, metric: str) -> Spread | None:
        """Return what a contender, or the best one, has reached; None if that was not measured."""
        who = self.best.get(name, name)
        return self._sum_up([held[who][metric] for held in self.rounds if metric in held.get(who, {})])

    def ratio(self, name: str, base: str, metric: str) -> Spread | None:
        """Return how many times ``base`` somebody has reached, over the rounds that have both."""
        one, other = self.best.get(name, name), self.best.get(base, base)
        both = [held for held in self.rounds if metric in held.get(one, {}) and held.get(other, {}).get(metric)]
        return self._sum_up([held[one][metric] / held[other][metric] for held in both])

    def price(self, name: str, base: str) -> Spread | None:
        """Return the MB that each job a second takes which somebody does more than ``base``; None if nobody does."""
        both = [(held[name], held[base]) for held in self.rounds if name in held and base in held]
        more = [(one["PSS MB"] - other["PSS MB"], one["jobs/s"] - other["jobs/s"]) for one, other in both]
        return self._sum_up([memory / jobs for memory, jobs in more]) if all(jobs > 0 for _, jobs in more) else None

    @staticmethod
    def _sum_up(values: list[float]) -> Spread | None:
        return Spread.of(values) if values else None


@dataclass(frozen=True)
class Promise:
    """Something that is promised of a contender: a number, or a ratio to somebody else's."""

    text: str
    name: str
    metric: str
    base: str = ""
    at_least: float = 0.0
    at_most: float = float("inf")

    def measured(self, outcome: Outcome) -> Spread | None:
        """Return the number or the ratio, None if it was not measured."""
        if self.base:
            return outcome.ratio(self.name, self.base, self.metric)
        return outcome.spread(self.name, self.metric)

    def is_met(self, outcome: Outcome) -> bool:
        """Say whether it is kept, in the median of the rounds; what was not measured is not."""
        found = self.measured(outcome)
        return found is not None and self.at_least <= found.median <= self.at_most

    def __str__(self) -> str:
        return f">= {self.at_least:g}" if self.at_least else f"<= {self.at_most:g}"


def outcomes(record: Mapping[str, Any]) -> dict[str, Outcome]:
    """Return what a record holds, by cell."""
    return {name: Outcome(**held) for name, held in record.items()}


def best_of(measured: Mapping[str, Mapping[str, float]], names: list[str]) -> str:
    """Return who of some contenders did most, of those that lost nothing and whom the kernel did not touch."""
    sound = [name for name in names if not measured[name].get("OOM kills") and measured[name].get("jobs/s")]
    return max(sound or names, key=lambda name: measured[name].get("jobs/s", 0.0))


def recovered(ends: list[float], changed: float, best: float, horizon: float, span: float = 5.0) -> float:
    """Return the seconds after a change until the rate over ``span`` seconds is within a tenth of the best one.

    :param horizon: is returned where that never was.
    """
    wanted = 0.9 * best * span
    after = [end - changed for end in ends]
    for second in range(int(horizon - span) + 1):
        if sum(second <= end < second + span for end in after) >= wanted:
            return float(second)
    return horizon
