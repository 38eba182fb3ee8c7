"""Share of pairs predicted in the order of their labels, for labels that are numbers.

Shapes: N rows, G groups.
"""

from __future__ import annotations

import numpy as np

from polyrank.evaluation._measure import Measure, defined, undefined
from polyrank.evaluation._metric import CONTINUOUS, Metric, Statistic
from polyrank.evaluation._ordered_pairs import OrderedPairs
from polyrank.evaluation._rows import Draw, Ints, Rows


def _bind(rows: Rows, groups_N: Ints) -> Statistic:
    pairs = OrderedPairs.of(rows, np.zeros(len(rows), dtype=np.int64))

    def statistic(draw: Draw) -> Measure:
        ordered_G, pairs_G = pairs.count(draw.weights_N)
        if pairs_G[0] == 0:
            return undefined("all labels are equal")
        return defined(float(ordered_G[0] / pairs_G[0]))

    return statistic


xauc = Metric(name="xauc", kinds=CONTINUOUS, higher_is_better=True, bind_rows=_bind)
"""XAUC = sum over pairs with y_i > y_j of w_i w_j ([p_i > p_j] + [p_i = p_j] / 2), divided by the
sum of w_i w_j over the same pairs. Pairs of equal labels have no order and do not count.

In [0, 1], 1/2 for no order; on labels 0 and 1 it is AUC. Exact, O(N log N) time, about 10 N log2 N
bytes. Needs two different labels. Source: Zhan et al. 2022, "Deconfounding Duration Bias in
Watch-time Prediction for Video Recommendation"; ties and equal labels count as in AUC.
"""
