"""Logs and their columns, for the tests of this room."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polyrank.simulation import Feed, FeedConfig


def make_log(num_rows: int = 60_000, **parameters: Any) -> pa.Table:
    """One table: the whole log of a feed with these parameters."""
    return pa.concat_tables(Feed(FeedConfig(**parameters)).tables(num_rows)).combine_chunks()


def column(log: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """A column as float64; null is NaN."""
    return np.asarray(log[name].to_numpy(zero_copy_only=False), dtype=np.float64)


def correlation(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    return float(np.corrcoef(first, second)[0, 1])


def slope(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Least-squares slope of y on x."""
    return float(np.polyfit(x, y, 1)[0])


def logit(probs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.log(probs / (1.0 - probs)))


def auc(label: npt.NDArray[np.float64], score: npt.NDArray[np.float64]) -> float:
    """Area under the ROC curve, for scores without ties."""
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(1, len(score) + 1)
    num_positive = label.sum()
    above = rank[label == 1].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * (len(label) - num_positive)))


def assert_mean_within(
    values: npt.NDArray[np.float64],
    expected: npt.NDArray[np.float64],
    variance: npt.NDArray[np.float64],
) -> None:
    """The mean of independent values is their mean expectation within 4 standard errors."""
    error = np.sqrt(variance.sum()) / len(values)
    assert abs(values.mean() - expected.mean()) < 4 * error
