"""Normalised discounted cumulative gain of each list, averaged over lists.

Shapes: N rows, R runs of equal predictions within a list, G lists.
"""

from __future__ import annotations

import numpy as np

from polyrank.errors import ConfigError
from polyrank.evaluation._measure import Measure, defined, undefined
from polyrank.evaluation._metric import NONNEGATIVE, Metric, Statistic
from polyrank.evaluation._rows import Draw, Floats, Ints, Rows, starts_of_runs
from polyrank.evaluation._segments import constant_counts, sizes_of, weighted_mean


def _scores(rows: Rows, groups_N: Ints, k: int) -> Floats:
    """NDCG of each list (NaN where nothing is to be gained); rows by list, prediction falling."""
    rows_G = starts_of_runs(groups_N)
    ranks_N = np.arange(len(rows)) - np.repeat(rows_G, sizes_of(rows_G, len(rows)))
    discounts_N = np.where(ranks_N < k, 1 / np.log2(ranks_N + 2), 0)
    ideal_N = rows.labels_N[np.lexsort((-rows.labels_N, groups_N))]
    ideal_G = np.add.reduceat(ideal_N * discounts_N, rows_G)
    runs_R = np.union1d(starts_of_runs(rows.predictions_N), rows_G)
    gains_R = np.add.reduceat(rows.labels_N, runs_R) / sizes_of(runs_R, len(rows))
    credit_R = gains_R * np.add.reduceat(discounts_N, runs_R)
    credit_G = np.add.reduceat(credit_R, np.searchsorted(runs_R, rows_G))
    scores_G = np.full(len(rows_G), np.nan)
    np.divide(credit_G, ideal_G, out=scores_G, where=ideal_G > 0)
    return scores_G


def _mean_weights(weights_N: Floats, rows_G: Ints) -> Floats:
    return np.add.reduceat(weights_N, rows_G) / sizes_of(rows_G, len(weights_N))


def _mean(scores_G: Floats, weights_G: Floats) -> Measure:
    ranked_G = ~np.isnan(scores_G)
    mean = weighted_mean(scores_G[ranked_G], weights_G[ranked_G])
    return undefined("no group with a label above 0") if mean is None else defined(mean)


def ndcg_at(k: int) -> Metric:
    """NDCG of the first ``k`` places, named ``ndcg@k``.

    Raises:
        ConfigError: ``k`` below 1.
    """
    if k < 1:
        raise ConfigError(f"`k` must be at least 1, got {k}")

    def bind(rows: Rows, groups_N: Ints) -> Statistic:
        rows.require_gains("ndcg")
        order_N = np.argsort(~groups_N, kind="stable")[::-1]
        rows, groups_N = rows.take(order_N), groups_N[order_N]
        rows_G = starts_of_runs(groups_N)
        scores_G, weights_G = _scores(rows, groups_N, k), _mean_weights(rows.weights_N, rows_G)

        def statistic(draw: Draw) -> Measure:
            counts_N = draw.counts_N[order_N]
            counts_G = constant_counts(counts_N, rows_G)
            if counts_G is not None:
                return _mean(scores_G, weights_G * counts_G)
            kept_N = np.flatnonzero(counts_N > 0)
            kept, lists_N = rows.take(kept_N), groups_N[kept_N]
            weights_N = kept.weights_N * counts_N[kept_N]
            weights_H = _mean_weights(weights_N, starts_of_runs(lists_N))
            return _mean(_scores(kept, lists_N, k), weights_H)

        return statistic

    return Metric(
        name=f"ndcg@{k}",
        kinds=NONNEGATIVE,
        higher_is_better=True,
        bind_rows=bind,
        group_keys=("request",),
    )


ndcg = ndcg_at(10)
"""NDCG@10 = mean over lists of DCG / ideal DCG, DCG = sum over places r = 1 ... 10 of
gain_r / log2(r + 1); the gain is the label.

Equal predictions: the expected DCG over all their orders, exactly (McSherry and Najork 2008). A
list without a label above 0 leaves the mean; so a list of one row with gain counts as 1. A list
weighs the mean of its rows' weights, which do not change its places: there is no half a place. A
row of weight 0 is not in the list. In [0, 1]. Source: Järvelin and Kekäläinen 2002, with the
discount of Burges et al. 2005.
"""
