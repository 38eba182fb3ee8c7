"""What the tasks' labels have to do with one another, and how many there are.

A row counts where its label was observed, within its sample space, and its weight is above 0; how
much above does not matter here, nor do keep rates of negatives.

Shapes: N rows, T tasks, M rows that two tasks have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from polyrank.audit.plain import Plain, finite
from polyrank.audit.thinning import thinned_rows
from polyrank.data import Batch, EncodedLog, in_unit, values_observed
from polyrank.schema import Schema, Task

SAMPLE = 200_000
"""Rows that correlations are computed on at most: an even sample of the part."""
CONSTANT = "one of them does not vary over the rows that have both"
NO_ROWS = "no row has both"

Floats = NDArray[np.float64]
_NO_FEATURES: Mapping[str, Any] = {"ids_BF": torch.empty(0, 0), "ragged": {}, "vectors": {}}


@dataclass(frozen=True, kw_only=True)
class Count(Plain):
    """Of one task in one part."""

    rows: int
    """With the label."""
    share: float | None
    """Of the part's rows of positive weight; None where it has none."""
    mean: float | None
    """Of the label, in its unit; None without rows."""
    positives: int | None
    """Labels of 1 of a binary task; None of others."""


@dataclass(frozen=True, kw_only=True)
class LabelPair(Plain):
    """Two tasks, on the rows that have both labels."""

    rows: int
    """In all of the part."""
    pearson: float | None
    """Between two binary tasks that is phi."""
    spearman: float | None
    """By average ranks; None between two binary tasks, where it is phi again."""
    jaccard: float | None
    """Rows with both over rows with either, of two binary tasks that have any; else None."""
    reason: str | None
    """Why there is no correlation."""


@dataclass(frozen=True, kw_only=True)
class LabelEvidence(Plain):
    """Of a log."""

    counts: Mapping[str, Mapping[str, Count]]
    """By part and task."""
    pairs: Mapping[str, LabelPair]
    """By "a/b" in the order of the schema, in the part named ``part``."""
    part: str
    sampled: int
    """Rows that the correlations come from."""


def label_evidence(
    parts: Mapping[str, EncodedLog], schema: Schema, *, part: str = "train"
) -> LabelEvidence:
    """Counts in each part, correlations in one of them.

    Args:
        parts: By name.
        schema: Their tasks.
        part: The one of ``parts`` that correlations come from.
    """
    sums = {name: _summed(log, schema) for name, log in parts.items()}
    labels_NT, seen_NT = _sample(parts[part], schema)
    binary = [task.kind == "binary" for task in schema.tasks]
    pairs = {}
    for (i, one), (j, other) in combinations(enumerate(schema.task_names), 2):
        rows_N = seen_NT[:, i] & seen_NT[:, j]
        pairs[f"{one}/{other}"] = _pair(
            labels_NT[rows_N, i],
            labels_NT[rows_N, j],
            int(sums[part].both_TT[i, j]),
            binary[i] and binary[j],
        )
    counts = {
        name: {task.name: _count(own, place, task) for place, task in enumerate(schema.tasks)}
        for name, own in sums.items()
    }
    return LabelEvidence(counts=counts, pairs=pairs, part=part, sampled=len(labels_NT))


def _labels(batch: Batch, schema: Schema) -> tuple[Floats, NDArray[np.bool_]]:
    """Of the rows of positive weight: labels in their units, and whether they are there."""
    bare = replace(batch, **_NO_FEATURES)
    assert bare.labels_BT is not None, "an encoded log carries labels"
    assert bare.weight_B is not None, "an encoded log carries weights"
    counted_B = bare.weight_B.numpy() > 0
    columns = zip(schema.tasks, bare.labels_BT.numpy().T, strict=True)
    labels_BT = np.stack([in_unit(task, label_B) for task, label_B in columns], axis=1)
    return labels_BT[counted_B].astype(np.float64), values_observed(bare, schema)[counted_B]


@dataclass(kw_only=True)
class _Sums:
    """Over the rows of a part."""

    total: int
    sums_T: Floats
    ones_T: Floats
    both_TT: Floats
    """Rows that have both labels; on the diagonal, that have one."""


def _summed(log: EncodedLog, schema: Schema) -> _Sums:
    tasks = len(schema.tasks)
    found = _Sums(
        total=0, sums_T=np.zeros(tasks), ones_T=np.zeros(tasks), both_TT=np.zeros((tasks, tasks))
    )
    for batch in log.whole():
        labels_NT, seen_NT = _labels(batch, schema)
        there_NT = seen_NT.astype(np.float64)
        found.total += len(labels_NT)
        found.sums_T += np.where(seen_NT, labels_NT, 0.0).sum(0)
        found.ones_T += (seen_NT & (labels_NT == 1)).sum(0)
        found.both_TT += there_NT.T @ there_NT
    return found


def _count(sums: _Sums, place: int, task: Task) -> Count:
    rows = int(sums.both_TT[place, place])
    return Count(
        rows=rows,
        share=rows / sums.total if sums.total else None,
        mean=float(sums.sums_T[place]) / rows if rows else None,
        positives=int(sums.ones_T[place]) if task.kind == "binary" else None,
    )


def _sample(log: EncodedLog, schema: Schema) -> tuple[Floats, NDArray[np.bool_]]:
    """Every k-th row, so that at most ``SAMPLE`` are taken."""
    labels, seen = zip(
        *(_labels(batch, schema) for batch in thinned_rows(log, SAMPLE)), strict=True
    )
    return np.concatenate(labels), np.concatenate(seen)


def _pair(one_M: Floats, other_M: Floats, rows: int, binary: bool) -> LabelPair:
    pearson = correlation(one_M, other_M)
    reason = None if pearson is not None else CONSTANT if len(one_M) else NO_ROWS
    either = int(((one_M == 1) | (other_M == 1)).sum())
    both = int(((one_M == 1) & (other_M == 1)).sum())
    return LabelPair(
        rows=rows,
        pearson=pearson,
        spearman=None if binary else correlation(ranks(one_M), ranks(other_M)),
        jaccard=both / either if binary and either else None,
        reason=reason,
    )


def correlation(one_M: Floats, other_M: Floats) -> float | None:
    """Pearson's; None where either does not vary."""
    if len(one_M) < 2 or np.ptp(one_M) == 0.0 or np.ptp(other_M) == 0.0:
        return None
    a_M, b_M = one_M - one_M.mean(), other_M - other_M.mean()
    a_M, b_M = a_M / np.abs(a_M).max(), b_M / np.abs(b_M).max()
    found = float(a_M @ b_M / np.sqrt((a_M @ a_M) * (b_M @ b_M)))
    return finite(min(1.0, max(-1.0, found)))


def ranks(values_M: Floats) -> Floats:
    """From 1, equal values sharing their average."""
    _, place_M, counts = np.unique(values_M, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place_M], dtype=np.float64)


def rank_correlation(one: ArrayLike, other: ArrayLike) -> float | None:
    """Spearman's; None where either does not vary."""
    return correlation(ranks(np.asarray(one, float)), ranks(np.asarray(other, float)))
