"""Predicted over observed.

Shapes: N rows.
"""

from __future__ import annotations

from polyrank.evaluation._measure import NO_ROWS, Measure, defined, undefined
from polyrank.evaluation._metric import NONNEGATIVE, Metric, Statistic, dot
from polyrank.evaluation._rows import Draw, Ints, Rows
from polyrank.evaluation._sums import Sums


def _divide(predicted: float, observed: float) -> Measure:
    if observed == 0:
        return undefined("the labels sum to 0")
    return defined(predicted / observed)


def _bind(rows: Rows, groups_N: Ints) -> Statistic:
    rows.require_gains("ratio")

    def statistic(draw: Draw) -> Measure:
        predicted = dot(draw.weights_N, rows.predictions_N)
        return _divide(predicted, dot(draw.weights_N, rows.labels_N))

    return statistic


def _stream(sums: Sums) -> Measure:
    return _divide(sums.predictions, sums.labels) if sums.weight > 0 else undefined(NO_ROWS)


ratio = Metric(
    name="ratio",
    kinds=NONNEGATIVE,
    higher_is_better=None,
    bind_rows=_bind,
    stream=_stream,
)
"""Ratio = sum of w p / sum of w y. 1 is calibrated on the whole, above 1 predicts too much; neither
end is best. Needs labels of at least 0 that do not sum to 0, so it is of binary and duration tasks.
"""
