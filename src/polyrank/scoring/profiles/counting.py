"""Values into bins, and how sure such counts are.

Rows of one user are alike, so counts of them waver more than as many independent ones would. How
much more is told by random groups (Wolter, Introduction to Variance Estimation, ch. 2): users are
dealt into ``NUM_GROUPS`` groups, and how the groups differ says how the total wavers.

Shapes: N rows, K values, B bins, G groups.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.bundle.profile import Distribution, Rate
from polyrank.data.arrays import nulls_of, plain
from polyrank.data.hashing import hash_column, mix
from polyrank.scoring.profiles.values import Values

NUM_GROUPS = 256
NUM_BINS = 10
"""Of numbers, about equally full."""
NUM_VALUES = 20
"""Categories with a bin of their own."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Columns(NamedTuple):
    """What rows are independent by."""

    user: str | None
    request: str | None


class Groups(NamedTuple):
    """The group of each row."""

    group_N: Ints
    unit: str
    units: int


def group_of(table: pa.Table, columns: Columns) -> Groups:
    """Groups of whole users, else of whole requests, else of rows; a null key is one by itself."""
    row_N = mix(np.arange(table.num_rows, dtype=np.uint64))
    hash_N, unit = row_N, "row"
    for name, told in ((columns.user, "user"), (columns.request, "request")):
        if name is not None and name in table.column_names and table[name].null_count < len(table):
            array = plain(table[name])
            key_N = mix(hash_column(array.cast(pa.large_string())))
            hash_N, unit = np.where(nulls_of(array), row_N, key_N), told
            break
    group_N = (hash_N % np.uint64(NUM_GROUPS)).astype(np.int64)
    units = len(np.unique(hash_N)) if len(hash_N) else 0
    return Groups(group_N, unit, units)


def distribution_of(values: Values, groups: Groups, unseen: float | None = None) -> Distribution:
    """A distribution in bins of its own.

    Args:
        values: What to count.
        groups: Of the rows.
        unseen: Share of the values outside the vocabulary; null: there is none.
    """
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    if values.kind == "number":
        edges = _edges(values.value_K)
    else:
        names = _most_frequent(values.value_K)
    return counted(values, groups, edges=edges, names=names, unseen=unseen)


def counted_by(
    reference: Distribution, values: Values, groups: Groups, unseen: float | None = None
) -> Distribution:
    """The same in the bins of another."""
    return counted(values, groups, edges=reference.edges, names=reference.values, unseen=unseen)


def counted(
    values: Values,
    groups: Groups,
    *,
    edges: tuple[float, ...],
    names: tuple[str, ...],
    unseen: float | None,
) -> Distribution:
    """The counts of given bins."""
    if values.kind == "number":
        bin_K = np.searchsorted(np.asarray(edges), values.value_K, side="left").astype(np.int64)
    else:
        found = pc.index_in(values.value_K, value_set=pa.array(names, pa.large_string()))
        bin_K = found.fill_null(len(names)).to_numpy(zero_copy_only=False).astype(np.int64)
    num_bins = 1 + (len(edges) if values.kind == "number" else len(names))
    count_GB = _by_group(bin_K, groups.group_N[values.row_K], num_bins)
    count_B = count_GB.sum(axis=0)
    effective = effective_size(count_GB)
    missing_GB = _by_group(values.missing_N.astype(np.int64), groups.group_N, 2)
    num_missing = int(values.missing_N.sum())
    total = int(count_B.sum())
    rows = len(values.missing_N)
    return Distribution(
        name=values.name,
        part=values.part,
        kind=values.kind,
        edges=edges,
        values=names,
        counts=tuple(int(count) for count in count_B),
        effective=effective,
        missing=Rate(
            count=num_missing,
            of=rows,
            effective=effective_size(missing_GB)
            if 0 < num_missing < rows
            else _sparse(groups, rows),
        ),
        unseen=None
        if unseen is None
        else Rate(count=round(unseen * total), of=total, effective=effective),
        compared=values.compared,
    )


def effective_size(count_GB: Ints) -> float:
    """How many independent values would be as sure of their shares, from 0 to as many as there are.

    n with (B - 1) / n = sum over bins of Var(share) / share, the variances by random groups.
    """
    count_B = count_GB.sum(axis=0)
    total = int(count_B.sum())
    used_B = count_B > 0
    if used_B.sum() < 2:
        return float(total)
    count_GB, share_B = count_GB[:, used_B], count_B[used_B] / total
    size_G = count_GB.sum(axis=1)
    num_groups = int((size_G > 0).sum())
    if num_groups < 2:
        return 1.0
    residual_GB = count_GB - size_G[:, None] * share_B
    variance_B = (residual_GB**2).sum(axis=0) / total**2 * num_groups / (num_groups - 1)
    wavering = float((variance_B / share_B).sum())
    return min(float(total), (len(share_B) - 1) / wavering) if wavering > 0 else float(total)


def _sparse(groups: Groups, rows: int) -> float:
    """Of a rate of 0 or 1, whose wavering nothing shows: as if units were all alike within."""
    return float(min(groups.units, rows))


def _by_group(bin_K: Ints, group_K: Ints, num_bins: int) -> Ints:
    flat = np.bincount(group_K * num_bins + bin_K, minlength=NUM_GROUPS * num_bins)
    return flat.reshape(NUM_GROUPS, num_bins).astype(np.int64)


def _edges(value_K: Floats) -> tuple[float, ...]:
    """Deciles, each once; above the largest value, which is the last, there is nothing yet."""
    finite_K = value_K[np.isfinite(value_K)]
    if not len(finite_K):
        return ()
    levels = np.arange(1, NUM_BINS + 1) / NUM_BINS
    found = np.unique(np.quantile(finite_K, levels, method="inverted_cdf"))
    return tuple(float(edge) for edge in found)


def _most_frequent(value_K: Any) -> tuple[str, ...]:
    counts = value_K.value_counts()
    pairs = zip(counts.field(1).to_pylist(), counts.field(0).to_pylist(), strict=True)
    ordered = sorted(pairs, key=lambda pair: (-pair[0], pair[1]))
    return tuple(name for _, name in ordered[:NUM_VALUES])
