"""Area under the precision-recall curve, as average precision.

Shapes: N rows, R runs of equal predictions.
"""

from __future__ import annotations

import numpy as np

from polyrank.evaluation._auc import one_class
from polyrank.evaluation._measure import Measure, defined
from polyrank.evaluation._metric import BINARY, Metric, Statistic
from polyrank.evaluation._rows import Draw, Ints, Rows, sum_runs

_TINY = np.finfo(np.float64).tiny


def _bind(rows: Rows, groups_N: Ints) -> Statistic:
    rows.require_binary("pr_auc")

    def statistic(draw: Draw) -> Measure:
        weights_N = draw.weights_N
        positives_R = sum_runs(weights_N * rows.labels_N, rows.runs_R)[::-1]
        negatives_R = sum_runs(weights_N * (1 - rows.labels_N), rows.runs_R)[::-1]
        positives = float(positives_R.sum())
        missing = one_class(positives, float(negatives_R.sum()))
        if missing:
            return missing
        hits_R = np.cumsum(positives_R)
        taken_R = hits_R + np.cumsum(negatives_R)
        precision_R = hits_R / np.maximum(taken_R, _TINY)  # 0 / 0 where nothing was drawn yet
        return defined(float(np.dot(positives_R, precision_R)) / positives)

    return statistic


pr_auc = Metric(name="pr_auc", kinds=BINARY, higher_is_better=True, bind_rows=_bind)
"""Average precision = sum over distinct predictions t, highest first, of (R_t - R_{t-1}) P_t, with
P_t and R_t the weighted precision and recall of "predicted at least t".

In (0, 1]; no order gives about the rate of positives. No interpolation between thresholds (that
is too kind: Davis and Goadrich 2006). Needs both classes.
"""
