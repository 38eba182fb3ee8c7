"""XAUC within groups, averaged over them.

Shapes: N rows, G groups.
"""

from __future__ import annotations

import numpy as np

from polyrank.evaluation._measure import Measure, defined, undefined
from polyrank.evaluation._metric import CONTINUOUS, Metric, Statistic
from polyrank.evaluation._ordered_pairs import OrderedPairs, sum_groups
from polyrank.evaluation._rows import Draw, Floats, Ints, Rows
from polyrank.evaluation._segments import constant_counts, weighted_mean


def _shares(pairs: OrderedPairs, weights_N: Floats) -> tuple[Floats, Floats]:
    """XAUC (NaN where all labels are equal) and weight of each group."""
    ordered_G, pairs_G = pairs.count(weights_N)
    shares_G = np.full(len(pairs_G), np.nan)
    np.divide(ordered_G, pairs_G, out=shares_G, where=pairs_G > 0)
    return shares_G, sum_groups(weights_N[pairs.order_N], pairs.starts_G)


def _mean(shares_G: Floats, weights_G: Floats) -> Measure:
    ordered_G = ~np.isnan(shares_G)
    mean = weighted_mean(shares_G[ordered_G], weights_G[ordered_G])
    return undefined("no group with two different labels") if mean is None else defined(mean)


def _bind(rows: Rows, groups_N: Ints) -> Statistic:
    pairs = OrderedPairs.of(rows, groups_N)
    shares_G, weights_G = _shares(pairs, rows.weights_N)

    def statistic(draw: Draw) -> Measure:
        counts_G = constant_counts(draw.counts_N[pairs.order_N], pairs.starts_G)
        if counts_G is None:
            return _mean(*_shares(pairs, draw.weights_N))
        return _mean(shares_G, weights_G * counts_G)  # a repeated group keeps its XAUC

    return statistic


gxauc = Metric(
    name="gxauc",
    kinds=CONTINUOUS,
    higher_is_better=True,
    bind_rows=_bind,
    group_keys=("user", "request"),
)
"""GXAUC = sum over groups g of W_g XAUC_g / sum of W_g, with W_g the sum of the row weights of g
(without weights: its impressions). Groups whose labels are all equal leave both sums.

In [0, 1]. Needs a group with two different labels. Source: Zhan et al. 2022, "Deconfounding
Duration Bias in Watch-time Prediction for Video Recommendation", who call it XGAUC.
"""
