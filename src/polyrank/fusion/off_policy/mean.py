"""A mean over logged rows that knows how far each cluster moves it.

Shapes: N rows, C clusters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyrank.fusion.off_policy.logged import Logged

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mean:
    """A value and how far each cluster moves it, which add up to 0.

    The linearised (delta method) variance is C / (C - 1) x the sum of squared moves (Särndal et
    al. 1992, section 5.6). Of two means over the same clusters the moves of the difference are the
    differences of the moves, so that what both have in common leaves the interval.
    """

    value: float
    moved_C: Floats
    """The influence of each cluster on ``value``, in its unit."""

    @staticmethod
    def of(logged: Logged, part_N: Floats, size_N: Floats | None = None) -> Mean:
        """sum of weight x part / sum of weight x size, 1 each if left out; at least 2 clusters.

        With sizes of 1 it is a mean, of clusters that may differ in size.
        """
        weight_N = logged.weights_N
        size_N = np.ones(len(logged)) if size_N is None else size_N
        total = float(np.sum(weight_N * size_N))
        value = float(np.sum(weight_N * part_N)) / total
        moved_C = logged.sums(weight_N * (part_N - value * size_N)) / total
        return Mean(value=value, moved_C=moved_C)

    def less(self, other: Mean) -> Mean:
        """The difference of two means over the same clusters."""
        return Mean(value=self.value - other.value, moved_C=self.moved_C - other.moved_C)

    @property
    def error(self) -> float:
        """Standard error."""
        num_clusters = len(self.moved_C)
        return float(np.sqrt(np.sum(self.moved_C**2) * num_clusters / (num_clusters - 1)))

    @property
    def effective(self) -> float:
        """(sum of |moves|)² / sum of moves²: how many clusters the value rests on.

        Of a rare binary reward about 4 times its events; 0 where nothing varies.
        """
        return kish(self.moved_C)


def kish(weight_C: Floats) -> float:
    """(sum of sizes)² / sum of squares (Kish, 1965); 0 where all are 0."""
    size_C = np.abs(weight_C)
    most = float(size_C.max())
    if not 0 < most < math.inf:
        return 0.0
    return float(np.sum(size_C / most) ** 2 / np.sum((size_C / most) ** 2))
