"""XAUC within groups, averaged over them.

Shapes: N rows, G groups.
"""

from __future__ import annotations

import numpy as np

from polyrank.evaluation._metric import CONTINUOUS, Metric, Statistic
from polyrank.evaluation._ordered_pairs import OrderedPairs, sum_groups
from polyrank.evaluation._over_groups import over_groups
from polyrank.evaluation._rows import Floats, Ints, Rows


def _bind(rows: Rows, groups_N: Ints) -> Statistic:
    pairs = OrderedPairs.of(rows, groups_N)

    def shares(weights_N: Floats) -> tuple[Floats, Floats]:
        ordered_G, pairs_G = pairs.count(weights_N)
        shares_G = np.full(len(pairs_G), np.nan)
        np.divide(ordered_G, pairs_G, out=shares_G, where=pairs_G > 0)
        return shares_G, sum_groups(weights_N[pairs.order_N], pairs.starts_G)

    nowhere = "no group with two different labels"
    return over_groups(shares, rows, pairs.order_N, pairs.starts_G, nowhere)


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
