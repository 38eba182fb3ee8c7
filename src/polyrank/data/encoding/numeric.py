"""Numbers: what the training split shows of a feature, and the scaling that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from polyrank.data.encoding.moments import Moments
from polyrank.data.encoding.sample import Sample
from polyrank.errors import DataError
from polyrank.schema import Numeric

Floats = NDArray[np.float64]

LARGEST = 1e100
"""Numbers beyond it, either way, are taken for it: squares stay finite."""
FLOAT32 = float(np.finfo(np.float32).max)
"""The largest float32."""
MAX_SCORE = 3.0
"""Normal scores lie within it, either way."""
_SCORES = np.linspace(-MAX_SCORE, MAX_SCORE, 257)
_CLIP = 10.0


def as_numbers(array: pa.Array, where: str) -> Floats:
    """The numbers as float64, NaN where missing.

    Raises:
        DataError: Infinity, a type that is no number, or an integer that float64 cannot hold.
    """
    if array.type != pa.float64() and not _is_number(array.type):
        raise DataError(
            f"a column of type {array.type} holds no numbers",
            where=where,
            hint="cast it to float64",
        )
    try:
        array = array if array.type == pa.float64() else array.cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise DataError(
            f"float64 cannot hold every value: {error}",
            where=where,
            hint="declare ids as categorical, or round the numbers to float64 yourself",
        ) from error
    values: Floats = array.to_numpy(zero_copy_only=False)
    if np.isinf(values).any():
        raise DataError(
            f"{int(np.isinf(values).sum())} values are infinite; numbers are finite or missing",
            where=where,
            hint="replace infinity by null, or by the largest value it stands for",
        )
    return np.minimum(np.maximum(values, -LARGEST), LARGEST)  # np.clip takes twice the time


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_floating(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    )


@dataclass(frozen=True, kw_only=True)
class Scaler:
    """The fitted scaling of one numeric feature.

    ``fill`` stands in for a missing value, before scaling. Of the rest each scaling uses its own:
    ``standard`` and ``log`` center and spread; ``quantile`` knots and scores; ``bins`` knots, the
    lower bounds of all bins but the first.
    """

    feature: Numeric
    fill: float
    flagged: bool
    """Whether any value was missing in the training split."""
    center: float = 0.0
    spread: float = 1.0
    knots: Floats = field(default_factory=lambda: np.empty(0))
    scores: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def num_bins(self) -> int:
        """How many bins ``rows`` tells apart; fewer than declared where values repeat."""
        return len(self.knots) + 1

    def scale(self, values: Floats) -> NDArray[np.float32]:
        """Finite scaled values; missing ones (NaN) imputed."""
        values = np.where(np.isnan(values), self.fill, values)
        match self.feature.scaling:
            case "quantile":
                values = np.interp(values, self.knots, self.scores)
            case "none":
                values = np.clip(values, -FLOAT32, FLOAT32)
            case _:
                values = (_before(self.feature, values) - self.center) / self.spread
                values = np.clip(values, -_CLIP, _CLIP)
        return values.astype(np.float32)

    def rows(self, values: Floats) -> NDArray[np.int32]:
        """With ``bins``: 0 for missing, else 1 + the bin."""
        rows = np.searchsorted(self.knots, values, side="right").astype(np.int32) + np.int32(1)
        rows[np.isnan(values)] = 0
        return rows


class NumericFit:
    """Gathers what a scaler needs, in one pass and bounded memory; weights are ignored."""

    def __init__(self, feature: Numeric, key: int) -> None:
        self._feature = feature
        self._sample = Sample(key)
        self._moments = Moments()
        self._missing = 0

    def add(self, values: Floats) -> None:
        """Takes the next values, NaN where missing."""
        missing = np.isnan(values)
        num_missing = int(np.count_nonzero(missing))
        self._missing += num_missing
        present = values[~missing] if num_missing else values
        self._sample.add(present)
        if self._feature.scaling in ("standard", "log"):
            self._moments.add(_before(self._feature, present))

    def finish(self) -> Scaler:
        """The scaler. Median and quantiles are exact while the sample is (see ``Sample``)."""
        values = self._sample.sorted()
        fill = float(np.median(values)) if values.size else 0.0
        center, spread = self._moments.result()
        knots, scores = _knots(self._feature, values)
        return Scaler(
            feature=self._feature,
            fill=fill,
            flagged=self._missing > 0,
            center=center if np.isfinite(center) else 0.0,
            spread=spread if np.isfinite(spread) and spread > 0 else 1.0,
            knots=knots,
            scores=scores,
        )


def _before(feature: Numeric, values: Floats) -> Floats:
    """What happens before standardising."""
    if feature.scaling == "log":
        logs: Floats = np.copysign(np.log1p(np.abs(values)), values)
        return logs
    return values


def _knots(feature: Numeric, values: Floats) -> tuple[Floats, Floats]:
    if feature.scaling == "quantile":
        return _normal_scores(values)
    if feature.scaling == "bins":
        return bin_bounds(values, feature.num_bins), np.empty(0)
    return np.empty(0), np.empty(0)


def _normal_scores(values: Floats) -> tuple[Floats, Floats]:
    """Values and their normal scores, at most 259 of them, evenly spaced in score.

    The quantile of a value is the share of smaller ones plus half the share of equal ones. Between
    two knots, at most .024 apart in score unless nothing lies between, ``scale`` interpolates.
    """
    if not values.size:
        return np.zeros(1), np.zeros(1)
    distinct, counts = np.unique(values, return_counts=True)
    quantiles = (np.cumsum(counts) - 0.5 * counts) / len(values)
    scores = torch.special.ndtri(torch.from_numpy(quantiles)).numpy().clip(-MAX_SCORE, MAX_SCORE)
    if len(distinct) > len(_SCORES):
        near = np.searchsorted(scores, _SCORES).clip(max=len(scores) - 1)
        kept = np.unique(np.concatenate([[0], near, [len(scores) - 1]]))
        distinct, scores = distinct[kept], scores[kept]
    return distinct, scores


def bin_bounds(values: Floats, num_bins: int) -> Floats:
    """Where each bin but the first begins, so that bins hold about the same number of values.

    Args:
        values: Rising.
        num_bins: At least 1.
    """
    if not values.size:
        return np.empty(0)
    bounds: Floats = np.unique(values[np.arange(1, num_bins) * len(values) // num_bins])
    inner: Floats = bounds[bounds > values[0]]
    return inner
