"""Leaks: features that know the answer, and features that know the row.

A feature computed after the fact predicts its label almost perfectly; an id of the row itself
teaches nothing about any other row. Both are told from a sample, as warnings: a log may be so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.arrays import floats_of, nulls_of, plain
from polyrank.data.hashing import mix
from polyrank.data.observed import label_values, observed_mask
from polyrank.errors import DataError
from polyrank.evaluation import auc
from polyrank.schema import Binary, Categorical, Numeric, Schema, Task

SAMPLE_ROWS = 50_000
"""Rows looked at, spread evenly over the log."""
SUSPECT_AUC = 0.995
_FEWEST = 20
"""Positives, and negatives, below which an AUC says nothing."""
_FEWEST_IDS = 1000


class DataWarning(DataError):
    """Something in the log that is worth a look and stops nothing. Exit code 0."""

    exit_code = 0
    code = "data-warning"


class Sample:
    """An even sample of the rows of a stream, in bounded memory; the same for the same stream."""

    def __init__(self, size: int = SAMPLE_ROWS) -> None:
        self._size = size
        self._tables: list[pa.Table] = []
        self._hashes: list[NDArray[np.uint64]] = []
        self._limit = np.uint64(2**64 - 1)
        self._num_rows = 0

    def add(self, table: pa.Table) -> None:
        """The next rows."""
        place_B = np.arange(self._num_rows, self._num_rows + table.num_rows, dtype=np.uint64)
        self._num_rows += table.num_rows
        self._keep(table, mix(place_B))
        while sum(map(len, self._hashes)) > 2 * self._size:
            self._limit = self._limit // np.uint64(2)
            tables, hashes = self._tables, self._hashes
            self._tables, self._hashes = [], []
            for kept, hash_B in zip(tables, hashes, strict=True):
                self._keep(kept, hash_B)

    def table(self) -> pa.Table | None:
        """The sample, in the order of the log; None if there were no rows."""
        return pa.concat_tables(self._tables).combine_chunks() if self._tables else None

    def _keep(self, table: pa.Table, hash_B: NDArray[np.uint64]) -> None:
        keep_B = hash_B <= self._limit
        if keep_B.any():
            self._tables.append(table.filter(pa.array(keep_B)))
            self._hashes.append(hash_B[keep_B])


def leaks(table: pa.Table, schema: Schema) -> Iterator[DataWarning]:
    """Warnings on a sample of canonical rows; features and tasks it lacks are left out."""
    names = set(table.schema.names)
    observed = observed_mask(table, schema)
    for feature in schema.features:
        if feature.column not in names or not isinstance(feature, Numeric | Categorical):
            continue
        array = plain(table.column(feature.column))
        if isinstance(feature, Categorical) and _names_the_row(array):
            yield _row_id(feature)
            continue
        for task in schema.tasks:
            seen_B = observed[task.name]
            area = _area(array, _positive(table, task, seen_B), seen_B)
            if area > SUSPECT_AUC:
                yield _leak(feature, task, area)


def _positive(table: pa.Table, task: Task, seen_B: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The label, a number as above its median."""
    value_B = label_values(table, task)
    if isinstance(task, Binary):
        return np.asarray(value_B == 1)
    return np.asarray(value_B > np.median(value_B[seen_B])) if seen_B.any() else seen_B


def _area(array: Any, positive_B: NDArray[np.bool_], seen_B: NDArray[np.bool_]) -> float:
    """How well the column alone tells the label, from 1/2 to 1; 1/2 where there are too few."""
    num_positive = int((positive_B & seen_B).sum())
    if min(num_positive, int(seen_B.sum()) - num_positive) < _FEWEST:
        return 0.5
    if pa.types.is_float64(array.type):
        value_B = floats_of(array)
        score_B = np.where(np.isnan(value_B), -np.finfo(np.float64).max, value_B)
        areas = [_auc(positive_B[seen_B], score_B[seen_B])]
    else:
        areas = [_auc(*_rates(array, positive_B, seen_B))]
    return max(max(area, 1 - area) for area in areas)


def _rates(
    array: Any, positive_B: NDArray[np.bool_], seen_B: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Labels of every other row, and the rate that its id has in the rows between."""
    codes_B = array.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False) + 1
    code_S, positive_S = codes_B[seen_B], positive_B[seen_B]
    count_C = np.bincount(code_S[::2], minlength=codes_B.max() + 1)
    ones_C = np.bincount(code_S[::2], weights=positive_S[::2], minlength=codes_B.max() + 1)
    rate_C = (ones_C + positive_S.mean()) / (count_C + 1)
    return positive_S[1::2], rate_C[code_S[1::2]]


def _auc(positive_S: NDArray[np.bool_], score_S: NDArray[np.float64]) -> float:
    area = auc(positive_S.astype(np.float64), score_S).value
    return 0.5 if np.isnan(area) else area


def _names_the_row(array: Any) -> bool:
    present = len(array) - int(nulls_of(array).sum())
    return present >= _FEWEST_IDS and len(array.unique().drop_null()) == present


def _leak(feature: Numeric | Categorical, task: Task, area: float) -> DataWarning:
    return DataWarning(
        f"feature {feature.name!r} alone predicts task {task.name!r} with an AUC of {area:.4f}: "
        "it looks as if it were known only after the fact",
        where=f"column {feature.column!r}",
        hint="If it is computed from what follows the impression, drop it.",
    )


def _row_id(feature: Categorical) -> DataWarning:
    return DataWarning(
        f"feature {feature.name!r} differs in every row: it names the row and tells nothing of "
        "others",
        where=f"column {feature.column!r}",
        hint="Drop it, or declare it as numeric if its size means something.",
    )
