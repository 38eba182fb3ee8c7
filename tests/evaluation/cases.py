"""One case a metric: a slow second implementation to compare with, and rows to try it on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    mean_absolute_error,
    ndcg_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.metrics import log_loss as sklearn_log_loss

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sample:
    labels: Floats
    probs: Floats
    weights: Floats
    groups: NDArray[np.int64]

    def take(self, index: NDArray[Any]) -> Sample:
        return Sample(
            self.labels[index], self.probs[index], self.weights[index], self.groups[index]
        )

    def lists(self) -> Iterator[Sample]:
        for group in np.unique(self.groups):
            yield self.take(np.flatnonzero(self.groups == group))


@dataclass(frozen=True)
class Case:
    """``oracle`` answers ``None`` where the metric is undefined."""

    oracle: Callable[[Sample], float | None]
    kind: str = "binary"
    defined_for_equal_labels: bool = False
    # A row repeated within a list moves the places of the others: repeat the list, not the row.
    repeats_lists: bool = False
    best: float | None = 1.0


def sample(rng: np.random.Generator, kind: str, size: int | None = None) -> Sample:
    """Random rows; half the time with many ties, integer weights or labels of one class."""
    size = int(rng.integers(1, 40)) if size is None else size
    probs = rng.random(size)
    if rng.random() < 0.5:
        probs = np.round(probs * rng.integers(1, 6)) / 5
        probs = np.clip(probs, 0, 1)
    weights = rng.integers(0, 4, size).astype(float) if rng.random() < 0.5 else rng.random(size)
    groups = rng.integers(-3, 4, size) * 2**61
    if kind == "binary":
        labels = (rng.random(size) < rng.choice([0.0, 0.2, 0.5, 1.0])).astype(float)
    else:
        labels = np.round(rng.exponential(3.0, size), int(rng.integers(0, 6)))
    return Sample(labels, probs, weights, groups)


def _auc(rows: Sample) -> float | None:
    if len(set(rows.labels)) < 2:
        return None
    return float(roc_auc_score(rows.labels, rows.probs, sample_weight=rows.weights))


def _over_lists(rows: Sample, oracle: Callable[[Sample], float | None]) -> float | None:
    parts = [(part.weights.sum(), oracle(part)) for part in rows.lists()]
    total = math.fsum(weight for weight, area in parts if area is not None)
    if total == 0:
        return None
    return math.fsum(weight * area for weight, area in parts if area is not None) / total


def _gauc(rows: Sample) -> float | None:
    return _over_lists(rows, _auc)


def _pr_auc(rows: Sample) -> float | None:
    if len(set(rows.labels)) < 2:
        return None
    return float(average_precision_score(rows.labels, rows.probs, sample_weight=rows.weights))


def _log_loss(rows: Sample) -> float:
    return float(
        sklearn_log_loss(rows.labels, rows.probs, sample_weight=rows.weights, labels=[0, 1])
    )


def _ne(rows: Sample) -> float | None:
    if len(set(rows.labels)) < 2:
        return None
    mean = math.fsum(rows.weights * rows.labels) / math.fsum(rows.weights)
    return _log_loss(rows) / -(mean * math.log(mean) + (1 - mean) * math.log(1 - mean))


def _ece(rows: Sample) -> float:
    """Walk through the distinct predictions and put each into the bin of its middle."""
    total = math.fsum(rows.weights)
    gaps, below = [0.0] * 15, 0.0
    for prob in np.unique(rows.probs):
        part = rows.take(np.flatnonzero(rows.probs == prob))
        mass = math.fsum(part.weights)
        place = min(int(15 * (below + mass / 2) / total), 14)
        gaps[place] += math.fsum(part.weights * (part.probs - part.labels))
        below += mass
    return math.fsum(abs(gap) for gap in gaps) / total


def _ratio(rows: Sample) -> float | None:
    observed = math.fsum(rows.weights * rows.labels)
    return math.fsum(rows.weights * rows.probs) / observed if observed else None


def _ndcg(rows: Sample) -> float | None:
    scores, weights = [], []
    for part in rows.lists():
        if part.labels.max() == 0:
            continue
        single = len(part.labels) == 1
        scores.append(1.0 if single else ndcg_score([part.labels], [part.probs], k=10))
        weights.append(part.weights.mean())
    return float(np.average(scores, weights=weights)) if scores else None


def _mae(rows: Sample) -> float:
    return float(mean_absolute_error(rows.labels, rows.probs, sample_weight=rows.weights))


def _rmse(rows: Sample) -> float:
    return float(root_mean_squared_error(rows.labels, rows.probs, sample_weight=rows.weights))


def _xauc(rows: Sample) -> float | None:
    """Every pair."""
    larger = rows.labels[:, None] > rows.labels[None, :]
    ordered = np.sign(rows.probs[:, None] - rows.probs[None, :]) / 2 + 0.5
    pairs = larger * np.outer(rows.weights, rows.weights)
    return float((pairs * ordered).sum() / pairs.sum()) if larger.any() else None


def _gxauc(rows: Sample) -> float | None:
    return _over_lists(rows, _xauc)


CASES = {
    "auc": Case(_auc),
    "gauc": Case(_gauc),
    "pr_auc": Case(_pr_auc),
    "log_loss": Case(_log_loss, defined_for_equal_labels=True, best=-math.log1p(-(2.0**-52))),
    "ne": Case(_ne, best=None),
    "ece": Case(_ece, defined_for_equal_labels=True, best=0.0),
    "ratio": Case(_ratio),
    "ndcg@10": Case(_ndcg, repeats_lists=True),
    "mae": Case(_mae, "duration", defined_for_equal_labels=True, best=0.0),
    "rmse": Case(_rmse, "duration", defined_for_equal_labels=True, best=0.0),
    "xauc": Case(_xauc, "duration"),
    "gxauc": Case(_gxauc, "duration"),
}
