"""Quantiles of durations in little memory: counts in exponentially growing buckets, as in DDSketch."""

from __future__ import annotations

import math
from collections import Counter


class Sketch:
    """The sum and the quantiles of a series of numbers.

    :param accuracy: the relative error of a quantile.
    """

    def __init__(self, accuracy: float):
        self.sum = 0.0
        self._factor = (1 + accuracy) / (1 - accuracy)
        self._counts: Counter[float] = Counter()
        """The count of numbers by their logarithm to the base of the factor, rounded up."""

    def add(self, value: float) -> None:
        """Add one number; a negative number counts as zero among the quantiles."""
        self._counts[math.ceil(math.log(value, self._factor)) if value > 0 else -math.inf] += 1
        self.sum += value

    def merge(self, other: Sketch) -> None:
        """Add the numbers of another sketch of equal accuracy."""
        self._counts.update(other._counts)
        self.sum += other.sum

    def quantile(self, part: float) -> float | None:
        """Return a quantile, such as 0.95 for the 95 % quantile; None without numbers."""
        rank = part * (self._counts.total() - 1)
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank < 0:
                return float(2 * self._factor**bucket / (1 + self._factor))
        return None
