"""Quantiles of durations in little memory: counts in buckets that grow by a factor, as DDSketch has them."""

from __future__ import annotations

import math
from collections import Counter


class Sketch:
    """Numbers of which only their sum and their quantiles are asked.

    :param accuracy: the part by which a quantile may be wrong.
    """

    def __init__(self, accuracy: float):
        self.sum = 0.0
        self._factor = (1 + accuracy) / (1 - accuracy)
        self._counts: Counter[float] = Counter()
        """How many numbers there are with each logarithm, to the base of the factor, rounded up."""

    def add(self, value: float) -> None:
        """Count one number; below zero, it counts as zero among the quantiles."""
        self._counts[math.ceil(math.log(value, self._factor)) if value > 0 else -math.inf] += 1
        self.sum += value

    def merge(self, other: Sketch) -> None:
        """Count what another sketch of this accuracy has counted."""
        self._counts.update(other._counts)
        self.sum += other.sum

    def quantile(self, part: float) -> float | None:
        """Return the number that so large a part of all is not above, None of nothing."""
        rank = part * (self._counts.total() - 1)
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank < 0:
                return float(2 * self._factor**bucket / (1 + self._factor))
        return None
