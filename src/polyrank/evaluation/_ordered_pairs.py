"""The weight of the pairs of rows whose predictions stand in the order of their labels, by group.

Shapes: N rows, G groups.

Counted in O(N log V), V distinct labels of a group: give each label its rank within its group, and
look at the ranks' binary digits, highest first. Two rows of different labels differ first at one
digit; there the row with digit 1 has the larger label. So at each digit, within the block of rows
that agree on the group and the digits above, sum over the rows with digit 1 the weight of the rows
with digit 0 predicted lower.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyrank.evaluation._rows import Bools, Floats, Ints, Rows, starts_of_runs
from polyrank.evaluation._segments import cumulate, sizes_of


@dataclass(frozen=True, eq=False)
class OrderedPairs:
    """The rows by group, then by prediction, and all that does not depend on their weights."""

    order_N: Ints
    """Where each row stood."""
    starts_G: Ints
    """First row of each group."""
    levels: list[_Level]
    by_label_N: Ints
    """How to order the rows by group, then by label."""
    labels_N: Ints
    """A number for each label, in that order."""
    ties: tuple[Ints, Ints] | None
    """Where several rows of a group are predicted alike: first rows of the runs of equal
    predictions, and a number for each row's label."""

    @classmethod
    def of(cls, rows: Rows, groups_N: Ints) -> OrderedPairs:
        """Of canonical rows, each in a group."""
        order_N = np.argsort(groups_N, kind="stable")
        starts_G = starts_of_runs(groups_N[order_N])
        group_N = np.repeat(np.arange(len(starts_G)), sizes_of(starts_G, len(rows)))
        number_N = _ranks(group_N, starts_G, rows.labels_N[order_N])
        digits = int(number_N.max()).bit_length()
        key_N = (group_N << digits) | number_N
        by_label_N = np.argsort(key_N, kind="stable")
        runs_R = np.flatnonzero(_starts(group_N) | _starts(rows.predictions_N[order_N]))
        return cls(
            order_N=order_N,
            starts_G=starts_G,
            levels=_levels(key_N, digits),
            by_label_N=by_label_N,
            labels_N=key_N[by_label_N],
            ties=(runs_R, key_N) if len(runs_R) < len(rows) else None,
        )

    def count(self, weights_N: Floats) -> tuple[Floats, Floats]:
        """(G,) weight of the pairs in order, a tie of predictions half, and (G,) of all pairs with
        different labels; ``weights_N`` in the order of the canonical rows."""
        weights_N = weights_N[self.order_N]
        pairs_G = self._pairs(weights_N[self.by_label_N], self.starts_G, self.labels_N)
        ordered_G = np.zeros(len(self.starts_G))
        if self.ties is not None:
            # Among equal predictions the larger label stands later: each tie is counted in full.
            ordered_G -= self._pairs(weights_N, *self.ties) / 2
        for level in self.levels:
            ordered_G += sum_groups(level.ordered(weights_N), self.starts_G)
            weights_N = weights_N[level.next_N]
        return ordered_G, pairs_G

    def _pairs(self, weights_N: Floats, blocks_B: Ints, values_N: Ints) -> Floats:
        """(G,) weight of the pairs of equal block and unequal value; rows by block, then value."""
        starts_N = _starts(values_N)
        starts_N[blocks_B] = True
        first_V = np.flatnonzero(starts_N)
        weights_V = np.add.reduceat(weights_N, first_V)
        before_V = cumulate(weights_V, np.searchsorted(first_V, blocks_B)) - weights_V
        return sum_groups(weights_V * before_V, np.searchsorted(first_V, self.starts_G))


@dataclass(frozen=True, eq=False)
class _Level:
    """One digit: rows by block, then by prediction."""

    starts_B: Ints  # first row of each block
    digit_N: Bools
    next_N: Ints  # how to order the rows for the next digit

    def ordered(self, weights_N: Floats) -> Floats:
        """(N,) weight of the pairs in order that first differ here, at their upper row."""
        upper_N = weights_N * self.digit_N
        return upper_N * cumulate(weights_N - upper_N, self.starts_B)


def _levels(key_N: Ints, digits: int) -> list[_Level]:
    """The levels for rows by group, then by prediction; highest digit first."""
    levels = []
    for shift in reversed(range(digits)):
        starts_B = starts_of_runs(key_N >> (shift + 1))
        next_N = np.argsort(key_N >> shift, kind="stable")
        levels.append(_Level(starts_B, (key_N >> shift) & 1 == 1, next_N))
        key_N = key_N[next_N]
    return levels


def _ranks(group_N: Ints, starts_G: Ints, labels_N: Floats) -> Ints:
    """The rank of each label among the distinct ones of its group, from 0."""
    order_N = np.lexsort((labels_N, group_N))
    new_N = _starts(labels_N[order_N])
    new_N[starts_G] = False
    count_N = np.cumsum(new_N)
    rank_N = np.empty(len(labels_N), dtype=np.int64)
    rank_N[order_N] = count_N - np.repeat(count_N[starts_G], sizes_of(starts_G, len(labels_N)))
    return rank_N


def _starts(values_N: Floats | Ints) -> Bools:
    """Whether each value differs from the one before it; the first does."""
    return np.concatenate(([True], values_N[1:] != values_N[:-1]))


def sum_groups(values_N: Floats, starts_G: Ints) -> Floats:
    """(G,) sums of segments; of a single one with the error of a pairwise sum."""
    if len(starts_G) == 1:
        return np.asarray(values_N.sum(keepdims=True), dtype=np.float64)
    return np.asarray(np.add.reduceat(values_N, starts_G), dtype=np.float64)
