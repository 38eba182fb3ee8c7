"""A metric within groups, averaged over them by their weight.

Shapes: N rows, G groups.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from polyrank.evaluation._measure import Measure, defined, undefined
from polyrank.evaluation._metric import Statistic
from polyrank.evaluation._rows import Draw, Floats, Ints, Rows
from polyrank.evaluation._segments import constant_counts, weighted_mean

ByGroup = Callable[[Floats], tuple[Floats, Floats]]
"""From the weights of the rows (N,) to the metric, NaN where undefined, and the weight of each
group (G,)."""


def over_groups(
    by_group: ByGroup, rows: Rows, order_N: Ints, starts_G: Ints, nowhere: str
) -> Statistic:
    """The mean over the groups in which the metric is defined.

    Args:
        by_group: The metric.
        rows: Their weights are those of every row once.
        order_N: The rows by group.
        starts_G: Where each group starts in that order.
        nowhere: The reason where no group has a metric.
    """
    values_G, weights_G = by_group(rows.weights_N)

    def mean(values_G: Floats, weights_G: Floats) -> Measure:
        there_G = ~np.isnan(values_G)
        found = weighted_mean(values_G[there_G], weights_G[there_G])
        return undefined(nowhere) if found is None else defined(found)

    def statistic(draw: Draw) -> Measure:
        counts_G = constant_counts(draw.counts_N[order_N], starts_G)
        if counts_G is None:
            return mean(*by_group(draw.weights_N))
        return mean(values_G, weights_G * counts_G)  # A repeated group keeps its value.

    return statistic
