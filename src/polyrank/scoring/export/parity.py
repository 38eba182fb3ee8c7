"""How far what another engine predicts lies from a reference, on the same rows.

>>> import numpy as np
>>> reference = {"click": np.array([0.1, 0.2, 0.3])}
>>> told = compare_predictions(reference, {"click": np.array([0.1, 0.3, 0.2])}, on="three rows")
>>> told.tasks["click"].largest_difference, told.tasks["click"].rank_correlation
(0.09999999999999998, 0.5)

Shapes: N rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from polyrank.storage import jsonio

LIST = 200
"""Rows that are ranked together where no requests are known."""


class TaskParity(BaseModel):
    """Of one task."""

    model_config = ConfigDict(frozen=True)

    largest_difference: float
    """In the label's unit."""
    relative: float
    """The same, by the largest reference prediction or 1, whichever is more."""
    rank_correlation: float
    """Spearman's over all rows; NaN where the reference has one value only."""
    ndcg_lost: float
    """1 - NDCG of the lists in the engine's order, where a row's gain is the reference's prediction
    above the list's least; the mean over lists whose predictions differ."""
    new_ties: int
    """How many more rows than in the reference share their prediction with one before."""


class Parity(BaseModel):
    """Of an engine."""

    model_config = ConfigDict(frozen=True)

    on: str
    """Which rows, in words."""
    rows: int
    engine: str
    precision: str
    tasks: dict[str, TaskParity]

    def to_json(self) -> bytes:
        """As every file of an artefact: two spaces, sorted keys; what is undefined is null."""
        return jsonio.dumps(json.loads(self.model_dump_json()))

    @property
    def worst(self) -> float:
        """The largest relative difference; NaN where one is undefined."""
        return float(np.max([task.relative for task in self.tasks.values()], initial=0.0))


def compare_predictions(
    reference: Mapping[str, NDArray[np.float64]],
    found: Mapping[str, NDArray[np.float64]],
    *,
    on: str,
    group_N: NDArray[np.int64] | None = None,
    engine: str = "",
    precision: str = "fp32",
) -> Parity:
    """Task by task.

    Args:
        reference: (N,) by task, at least one row.
        found: The same tasks, by the engine.
        on: Which rows.
        group_N: The request of each row; null: every ``LIST`` rows are one.
        engine: Its name.
        precision: Its precision.
    """
    num_rows = len(next(iter(reference.values())))
    lists_N = np.arange(num_rows) // LIST if group_N is None else group_N
    return Parity(
        on=on,
        rows=num_rows,
        engine=engine,
        precision=precision,
        tasks={
            task: _of_task(value_N, found[task], lists_N) for task, value_N in reference.items()
        },
    )


def _of_task(
    reference_N: NDArray[np.float64], found_N: NDArray[np.float64], lists_N: NDArray[np.int64]
) -> TaskParity:
    largest = float(np.abs(reference_N - found_N).max())
    return TaskParity(
        largest_difference=largest,
        relative=largest / max(1.0, float(np.abs(reference_N).max())),
        rank_correlation=_spearman(reference_N, found_N),
        ndcg_lost=_ndcg_lost(reference_N, found_N, lists_N),
        new_ties=len(np.unique(reference_N)) - len(np.unique(found_N)),
    )


def _ranks(value_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 1, ties at their mean."""
    _, place_N, count_K = np.unique(value_N, return_inverse=True, return_counts=True)
    mean_K = np.cumsum(count_K) - (count_K - 1) / 2
    ranks_N: NDArray[np.float64] = mean_K[place_N]
    return ranks_N


def _spearman(a_N: NDArray[np.float64], b_N: NDArray[np.float64]) -> float:
    a_N, b_N = _ranks(a_N), _ranks(b_N)
    a_N, b_N = a_N - a_N.mean(), b_N - b_N.mean()
    scale = math.sqrt(float(a_N @ a_N) * float(b_N @ b_N))
    return float(a_N @ b_N) / scale if scale else math.nan


def _ndcg_lost(
    gain_N: NDArray[np.float64], found_N: NDArray[np.float64], lists_N: NDArray[np.int64]
) -> float:
    lost = []
    for own in np.unique(lists_N):
        gain_K, found_K = gain_N[lists_N == own], found_N[lists_N == own]
        gain_K = gain_K - gain_K.min()
        discount_K = 1.0 / np.log2(np.arange(len(gain_K)) + 2)
        ideal = float(np.sort(gain_K)[::-1] @ discount_K)
        if ideal > 0:
            order_K = np.argsort(-found_K, kind="stable")
            lost.append(max(0.0, 1.0 - float(gain_K[order_K] @ discount_K) / ideal))
    return float(np.mean(lost)) if lost else 0.0
