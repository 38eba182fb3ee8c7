"""The rows a metric counts: observed, of positive weight, checked, in one canonical order.

Shapes: N rows, R runs of rows with equal predictions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polyrank.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Draw(NamedTuple):
    """One weighting of the rows: all of them once, or one bootstrap replicate."""

    counts_N: Floats  # how often each row is taken
    weights_N: Floats  # its own weight times that
    total: float


@dataclass(frozen=True, eq=False)
class Rows:
    """Observed rows. ``index_N`` says where each stood in the arrays they were selected from."""

    labels_N: Floats
    predictions_N: Floats
    weights_N: Floats
    index_N: Ints
    where: str | None = None

    def __len__(self) -> int:
        return len(self.labels_N)

    def take(self, index: Ints) -> Rows:
        """The rows at ``index``, in its order."""
        return Rows(
            self.labels_N[index],
            self.predictions_N[index],
            self.weights_N[index],
            self.index_N[index],
            self.where,
        )

    def canonical(self) -> Rows:
        """Sorted by prediction, then label, then weight: the order they came in leaves no trace.

        Weights are rescaled, so that no product of them leaves float64.
        """
        rows = self.take(np.lexsort((self.weights_N, self.labels_N, self.predictions_N)))
        return replace(rows, weights_N=rescale(rows.weights_N))

    @cached_property
    def runs_R(self) -> Ints:
        """Where each run of equal predictions starts; rows must be canonical."""
        return starts_of_runs(self.predictions_N)

    @cached_property
    def draw(self) -> Draw:
        """Every row once."""
        return self.draw_of(np.ones(len(self)))

    def draw_of(self, counts_N: Floats) -> Draw:
        """Row n taken ``counts_N[n]`` times."""
        weights_N = self.weights_N * counts_N
        return Draw(counts_N, weights_N, float(weights_N.sum()))

    def require_binary(self, metric: str) -> None:
        """Refuse labels other than 0 and 1."""
        wrong_N = (self.labels_N != 0) & (self.labels_N != 1)
        self._refuse(wrong_N, self.labels_N, f"{metric} needs labels 0 or 1")

    def require_gains(self, metric: str) -> None:
        """Refuse negative labels."""
        self._refuse(self.labels_N < 0, self.labels_N, f"{metric} needs labels of at least 0")

    def require_probabilities(self, metric: str) -> None:
        """Refuse predictions outside [0, 1]."""
        wrong_N = (self.predictions_N < 0) | (self.predictions_N > 1)
        rule = f"{metric} needs probabilities in [0, 1]"
        self._refuse(wrong_N, self.predictions_N, rule, "pass probabilities, not logits")

    def _refuse(self, wrong_N: Bools, values_N: Floats, rule: str, hint: str | None = None) -> None:
        refuse(wrong_N, values_N, rule, self.where, hint)


def rescale(weights_N: Floats) -> Floats:
    """``weights_N`` times the power of two that brings the largest to [1/2, 1): no bit is lost."""
    _, exponent = np.frexp(weights_N.max(initial=0.0))
    return np.asarray(np.ldexp(weights_N, -exponent), dtype=np.float64)


def refuse(
    wrong_N: Bools, values_N: NDArray[Any], rule: str, where: str | None, hint: str | None = None
) -> None:
    """Raise a ``DataError`` with the number of wrong rows and the first of their values."""
    if wrong_N.any():
        first, count = values_N[wrong_N.argmax()], int(wrong_N.sum())
        message = f"{rule}, got {first} (in all {count} of {len(wrong_N)} rows)"
        raise DataError(message, where=where, hint=hint)


def starts_of_runs(values_N: NDArray[Any]) -> Ints:
    """Where each run of equal neighbours starts; at least one row."""
    return np.concatenate(([0], np.flatnonzero(values_N[1:] != values_N[:-1]) + 1))


def sum_runs(values_N: Floats, starts_R: Ints) -> Floats:
    """The sum of each run; free where every run is one row."""
    if len(starts_R) == len(values_N):
        return values_N
    return np.asarray(np.add.reduceat(values_N, starts_R), dtype=np.float64)


def column(values: ArrayLike, name: str, size: int | None, where: str | None) -> NDArray[Any]:
    """``values`` as a one-dimensional numeric array of ``size`` rows, not copied."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        got = f"{array.dtype} of shape {array.shape}"
        raise DataError(f"{name} must be one number a row, got {got}", where=where)
    if size is not None and len(array) != size:
        raise DataError(f"{name} has {len(array)} rows, labels have {size}", where=where)
    return array


def mask_column(values: ArrayLike, size: int, where: str | None) -> Bools:
    """``values`` as a boolean mask of ``size`` rows."""
    array = column(values, "mask_N", size, where)
    if array.dtype != np.bool_:
        hint = "compare it with 0 first"
        raise DataError(f"mask_N must be boolean, got {array.dtype}", where=where, hint=hint)
    return array


def select_rows(
    labels_N: ArrayLike,
    predictions_N: ArrayLike,
    mask_N: ArrayLike | None = None,
    weights_N: ArrayLike | None = None,
    where: str | None = None,
) -> Rows:
    """The observed rows of positive weight as float64, in the order they came.

    What a masked row or a row of weight zero holds is not looked at.

    Raises:
        DataError: Unequal lengths; a mask that is not boolean; a weight that is negative, NaN or
            infinite; a counted label or prediction that is NaN or infinite.
    """
    labels = column(labels_N, "labels_N", None, where)
    size = len(labels)
    predictions = column(predictions_N, "predictions_N", size, where)
    index = np.arange(size)
    if mask_N is not None:
        index = np.flatnonzero(mask_column(mask_N, size, where))
    if weights_N is None:
        weights = np.ones(len(index))
    else:
        weights = column(weights_N, "weights_N", size, where)[index].astype(np.float64)
        wrong_N = ~(np.isfinite(weights) & (weights >= 0))
        refuse(wrong_N, weights, "weights must be finite and at least 0", where)
        index, weights = index[weights > 0], weights[weights > 0]
    rows = Rows(
        labels[index].astype(np.float64),
        predictions[index].astype(np.float64),
        weights,
        index,
        where,
    )
    refuse(~np.isfinite(rows.labels_N), rows.labels_N, "observed labels must be finite", where)
    hint = "a model that predicts NaN has diverged"
    finite_N = np.isfinite(rows.predictions_N)
    refuse(~finite_N, rows.predictions_N, "predictions must be finite", where, hint)
    return rows
