"""AUC within groups, averaged over them.

Shapes: N rows, R runs of equal predictions within a group, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyrank.evaluation._metric import BINARY, Metric, Statistic
from polyrank.evaluation._over_groups import over_groups
from polyrank.evaluation._rows import Floats, Ints, Rows, starts_of_runs, sum_runs
from polyrank.evaluation._segments import concordance_by_group


@dataclass(frozen=True, eq=False)
class _Groups:
    """The rows by group, then by prediction."""

    order_N: Ints
    labels_N: Floats
    runs_R: Ints  # first row of each run
    rows_G: Ints  # first row of each group
    starts_G: Ints  # first run of each group

    @staticmethod
    def of(rows: Rows, groups_N: Ints) -> _Groups:
        order_N = np.argsort(groups_N, kind="stable")
        rows_G = starts_of_runs(groups_N[order_N])
        is_start_N = np.zeros(len(rows), dtype=np.bool_)
        is_start_N[rows_G] = True
        is_start_N[starts_of_runs(rows.predictions_N[order_N])] = True
        runs_R = np.flatnonzero(is_start_N)
        starts_G = np.searchsorted(runs_R, rows_G)
        return _Groups(order_N, rows.labels_N[order_N], runs_R, rows_G, starts_G)

    def areas(self, weights_N: Floats) -> tuple[Floats, Floats]:
        """AUC (NaN with one class) and weight of each group."""
        weights_N = weights_N[self.order_N]
        positives_R = sum_runs(weights_N * self.labels_N, self.runs_R)
        negatives_R = sum_runs(weights_N * (1 - self.labels_N), self.runs_R)
        positives_G = np.add.reduceat(positives_R, self.starts_G)
        negatives_G = np.add.reduceat(negatives_R, self.starts_G)
        pairs_G = positives_G * negatives_G
        concordant_G = concordance_by_group(positives_R, negatives_R, self.starts_G)
        areas_G = np.full(len(pairs_G), np.nan)
        np.divide(concordant_G, pairs_G, out=areas_G, where=pairs_G > 0)
        return areas_G, positives_G + negatives_G


def _bind(rows: Rows, groups_N: Ints) -> Statistic:
    rows.require_binary("gauc")
    groups = _Groups.of(rows, groups_N)
    return over_groups(
        groups.areas, rows, groups.order_N, groups.rows_G, "no group with both classes"
    )


gauc = Metric(
    name="gauc",
    kinds=BINARY,
    higher_is_better=True,
    bind_rows=_bind,
    group_keys=("user", "request"),
)
"""GAUC = sum over groups g of W_g AUC_g / sum of W_g, with W_g the sum of the row weights of g
(without weights: its impressions). Groups with one class only leave both sums.

In [0, 1]. Needs a group with both classes. Source: Zhu et al. 2017, "Optimized Cost per Click in
Taobao Display Advertising".
"""
