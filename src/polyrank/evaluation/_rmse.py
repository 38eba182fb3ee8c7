"""Root of the mean squared error.

Shapes: N rows.
"""

from __future__ import annotations

import math

from polyrank.evaluation._measure import NO_ROWS, Measure, defined, undefined
from polyrank.evaluation._metric import CONTINUOUS, Metric, Statistic, dot
from polyrank.evaluation._rows import Draw, Ints, Rows
from polyrank.evaluation._sums import Sums


def _bind(rows: Rows, groups_N: Ints) -> Statistic:
    errors_N = (rows.predictions_N - rows.labels_N) ** 2

    def statistic(draw: Draw) -> Measure:
        return defined(math.sqrt(dot(draw.weights_N, errors_N) / draw.total))

    return statistic


def _stream(sums: Sums) -> Measure:
    if sums.weight == 0:
        return undefined(NO_ROWS)
    return defined(math.sqrt(sums.squared / sums.weight))


rmse = Metric(
    name="rmse",
    kinds=CONTINUOUS,
    higher_is_better=False,
    bind_rows=_bind,
    stream=_stream,
)
"""RMSE = square root of (sum of w (p - y)^2 / sum of w), in the unit of the label, at least 0."""
