"""Normalised entropy: log loss over that of always predicting the mean label.

Shapes: N rows.
"""

from __future__ import annotations

import math

from polyrank.evaluation._auc import one_class
from polyrank.evaluation._measure import NO_ROWS, Measure, defined, undefined
from polyrank.evaluation._metric import BINARY, Metric, Statistic, dot
from polyrank.evaluation._rows import Draw, Ints, Rows
from polyrank.evaluation._sums import Sums, losses


def _normalise(loss: float, positives: float, negatives: float) -> Measure:
    """``loss`` is a weighted sum; the counts are weights."""
    missing = one_class(positives, negatives)
    if missing:
        return missing
    total = positives + negatives
    entropy = positives * math.log(total / positives) + negatives * math.log(total / negatives)
    return defined(loss / entropy)


def _bind(rows: Rows, groups_N: Ints) -> Statistic:
    rows.require_binary("ne")
    rows.require_probabilities("ne")
    losses_N = losses(rows.labels_N, rows.predictions_N)

    def statistic(draw: Draw) -> Measure:
        positives = dot(draw.weights_N, rows.labels_N)
        negatives = dot(draw.weights_N, 1 - rows.labels_N)
        return _normalise(dot(draw.weights_N, losses_N), positives, negatives)

    return statistic


def _stream(sums: Sums) -> Measure:
    if sums.weight == 0:
        return undefined(NO_ROWS)
    return _normalise(sums.log_loss, float(sums.positives_C.sum()), float(sums.negatives_C.sum()))


ne = Metric(
    name="ne",
    kinds=BINARY,
    higher_is_better=False,
    bind_rows=_bind,
    stream=_stream,
)
"""NE = log loss / H(q), H(q) = -q ln q - (1 - q) ln(1 - q), q the weighted mean label of the same
rows.

At least 0; 1 is as good as the mean label, above 1 worse. Clips as log loss does. Needs both
classes. Source: He et al. 2014, "Practical Lessons from Predicting Clicks on Ads at Facebook",
section 2.
"""
