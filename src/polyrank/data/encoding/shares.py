"""How often each level or class of a label occurs in a stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polyrank.schema import Multiclass, Ordinal

_BLOCK = 1 << 16


class Shares:
    """Sums the weights of each level or class over blocks of a fixed number of labels, so that
    rounding does not depend on the cut into chunks."""

    def __init__(self, task: Ordinal | Multiclass) -> None:
        self._levels = np.array(task.values) if isinstance(task, Ordinal) else None
        self._sums = np.zeros(len(task.values))
        self._places = np.empty(0, dtype=np.int64)
        self._weights = np.empty(0)

    def add(self, labels: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        """Takes the next labels, as batches carry them, with weights of at least 0."""
        found = labels if self._levels is None else np.searchsorted(self._levels, labels)
        places = np.concatenate([self._places, found.astype(np.int64)])
        weights = np.concatenate([self._weights, weights])
        whole = len(places) // _BLOCK * _BLOCK
        for start in range(0, whole, _BLOCK):
            self._merge(places[start : start + _BLOCK], weights[start : start + _BLOCK])
        self._places, self._weights = places[whole:].copy(), weights[whole:].copy()

    def result(self) -> tuple[float, ...]:
        """The share of each in all weights, in the order of the task's ``values``; NaN if none."""
        self._merge(self._places, self._weights)
        self._places, self._weights = np.empty(0, dtype=np.int64), np.empty(0)
        with np.errstate(invalid="ignore"):
            shares: list[float] = (self._sums / self._sums.sum()).tolist()
        return tuple(shares)

    def _merge(self, places: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        self._sums += np.bincount(places, weights=weights, minlength=len(self._sums))
