"""Weighted mean and standard deviation of a stream, stable and independent of its chunks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 16


class Moments:
    """Weighted moments, merged over blocks (Chan, Golub, LeVeque, 1979, eq. 2.1).

    Blocks have a fixed number of values, whatever the chunks, so rounding does not depend on the
    cut. Values of weight 0 count as absent.
    """

    def __init__(self) -> None:
        self.count = 0
        """Values with a positive weight."""
        self._weight = 0.0
        self._mean = 0.0
        self._squares = 0.0
        self._lowest, self._highest = math.inf, -math.inf
        self._values = np.empty(0)
        self._weights = np.empty(0)

    def add(self, values: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> None:
        """Takes the next values, finite and at most 1e100 in size, with weights of at least 0."""
        if weights is None:
            weights = np.ones(len(values))
        present = weights > 0
        self.count += int(np.count_nonzero(present))
        values = np.concatenate([self._values, values[present]])
        weights = np.concatenate([self._weights, weights[present]])
        whole = len(values) // _BLOCK * _BLOCK
        for start in range(0, whole, _BLOCK):
            self._merge(values[start : start + _BLOCK], weights[start : start + _BLOCK])
        self._values, self._weights = values[whole:].copy(), weights[whole:].copy()

    def result(self) -> tuple[float, float]:
        """Mean and standard deviation (of the population, not its estimate); NaN, NaN if empty.

        The deviation of a constant is exactly 0.
        """
        if self._values.size:
            self._merge(self._values, self._weights)
            self._values, self._weights = np.empty(0), np.empty(0)
        if self._weight == 0:
            return math.nan, math.nan
        if self._lowest == self._highest:
            return self._lowest, 0.0
        return self._mean, math.sqrt(self._squares / self._weight)

    def _merge(self, values: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        weight = float(weights.sum())
        mean = float((values * weights).sum()) / weight
        squares = float((np.square(values - mean) * weights).sum())
        total = self._weight + weight
        delta = mean - self._mean
        self._mean += delta * (weight / total)
        self._squares += squares + delta * delta * (self._weight / total * weight)
        self._weight = total
        self._lowest = min(self._lowest, float(values.min()))
        self._highest = max(self._highest, float(values.max()))
