"""Share of pairs predicted in the order of their labels, for labels that are numbers.

Shapes: N rows, V distinct labels, G blocks of a level.

Counting ordered pairs with weights in O(N log V): give each label its rank, and look at the ranks'
binary digits, highest first. Two rows of different labels differ first at one digit; there the row
with digit 1 has the larger label. So at each digit, within the block of rows that agree on the
digits above, sum over the rows with digit 1 the weight of the rows with digit 0 predicted lower.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyrank.evaluation._measure import Measure, defined, undefined
from polyrank.evaluation._metric import CONTINUOUS, Metric, Statistic
from polyrank.evaluation._rows import Bools, Draw, Floats, Ints, Rows, starts_of_runs
from polyrank.evaluation._segments import cumulate, sizes_of


@dataclass(frozen=True, eq=False)
class _Level:
    """One digit: rows by block, then by prediction."""

    starts_G: Ints  # first row of each block
    digit_N: Bools
    next_N: Ints  # how to order the rows for the next digit

    def ordered(self, weights_N: Floats) -> float:
        """Weight of the pairs that first differ here and are predicted in order."""
        upper_N = weights_N * self.digit_N
        lower_N = np.cumsum(weights_N - upper_N)
        before_G = lower_N[self.starts_G - 1]
        before_G[0] = 0
        lower_N -= np.repeat(before_G, sizes_of(self.starts_G, len(lower_N)))
        return float(np.dot(upper_N, lower_N))


def _levels(ranks_N: Ints) -> list[_Level]:
    """The levels for rows in order of prediction, highest digit first."""
    levels = []
    for shift in reversed(range(int(ranks_N.max()).bit_length())):
        starts_G = starts_of_runs(ranks_N >> (shift + 1))
        next_N = np.argsort(ranks_N >> shift, kind="stable")
        levels.append(_Level(starts_G, (ranks_N >> shift) & 1 == 1, next_N))
        ranks_N = ranks_N[next_N]
    return levels


def _pairs(weights_N: Floats, blocks_N: Ints, values_N: Floats) -> float:
    """Weight of the pairs of equal block and unequal value; rows by block, then by value."""
    starts_N = np.concatenate(([True], values_N[1:] != values_N[:-1]))
    starts_N[blocks_N] = True
    first_V = np.flatnonzero(starts_N)
    weights_V = np.add.reduceat(weights_N, first_V)
    before_V = cumulate(weights_V, np.searchsorted(first_V, blocks_N)) - weights_V
    return float(np.dot(weights_V, before_V))


def _bind(rows: Rows, groups_N: Ints) -> Statistic:
    labels_V, ranks_N = np.unique(rows.labels_N, return_inverse=True)
    levels = _levels(ranks_N)
    by_label_N = np.argsort(ranks_N, kind="stable")
    has_ties = len(rows.runs_R) < len(rows)
    whole = np.zeros(1, dtype=np.int64)

    def statistic(draw: Draw) -> Measure:
        pairs = _pairs(draw.weights_N[by_label_N], whole, labels_V[ranks_N[by_label_N]])
        if pairs == 0:
            return undefined("all labels are equal")
        # Among equal predictions the larger label stands later, so each tie was counted in full.
        tied = _pairs(draw.weights_N, rows.runs_R, rows.labels_N) if has_ties else 0.0
        ordered, weights_N = 0.0, draw.weights_N
        for level in levels:
            ordered += level.ordered(weights_N)
            weights_N = weights_N[level.next_N]
        return defined((ordered - tied / 2) / pairs)

    return statistic


xauc = Metric(name="xauc", kinds=CONTINUOUS, higher_is_better=True, bind_rows=_bind)
"""XAUC = sum over pairs with y_i > y_j of w_i w_j ([p_i > p_j] + [p_i = p_j] / 2), divided by the
sum of w_i w_j over the same pairs. Pairs of equal labels have no order and do not count.

In [0, 1], 1/2 for no order; on labels 0 and 1 it is AUC. Exact, O(N log N) time, about 10 N log2 N
bytes. Needs two different labels. Source: Zhan et al. 2022, "Deconfounding Duration Bias in
Watch-time Prediction for Video Recommendation"; ties and equal labels count as in AUC.
"""
