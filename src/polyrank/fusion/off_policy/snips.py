"""Self-normalised inverse propensity scoring.

Shapes: N rows, P places.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from polyrank.fusion.off_policy.base import Estimator
from polyrank.fusion.off_policy.logged import Logged
from polyrank.fusion.off_policy.mean import Mean


class SNIPS(Estimator):
    """sum of importance x reward / sum of importance (Swaminathan and Joachims, NeurIPS 2015).

    Biased by an order less than its standard error; within the range of rewards; a constant added
    to all rewards is added to the value. The interval is of the delta method. With places it is
    that of each place, averaged by how many rows each has: the importances of every place average
    1 by themselves.
    """

    kind: Literal["snips"] = "snips"

    def _mean(self, logged: Logged) -> Mean:
        if logged.place_N is None:
            return Mean.of(logged, logged.importance_N * logged.reward_N, logged.importance_N)
        earned_N = logged.weights_N * logged.importance_N
        value_P = np.bincount(logged.place_N, earned_N * logged.reward_N) / np.bincount(
            logged.place_N, earned_N
        )
        share_P = np.bincount(logged.place_N, logged.weights_N) / logged.weights_N.sum()
        value_N = value_P[logged.place_N]
        # Each place's own ratio moves, and so does how many rows it has among all.
        scale_N = (share_P / np.bincount(logged.place_N, earned_N))[logged.place_N]
        places = Mean.of(logged, value_N)
        moved_C = logged.sums(scale_N * earned_N * (logged.reward_N - value_N))
        return Mean(value=places.value, moved_C=moved_C + places.moved_C)
