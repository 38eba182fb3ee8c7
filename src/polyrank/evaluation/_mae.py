"""Mean absolute error.

Shapes: N rows.
"""

from __future__ import annotations

import numpy as np

from polyrank.evaluation._measure import NO_ROWS, Measure, defined, undefined
from polyrank.evaluation._metric import CONTINUOUS, Metric, Statistic, dot
from polyrank.evaluation._rows import Draw, Ints, Rows
from polyrank.evaluation._sums import Sums


def _bind(rows: Rows, groups_N: Ints) -> Statistic:
    errors_N = np.abs(rows.predictions_N - rows.labels_N)

    def statistic(draw: Draw) -> Measure:
        return defined(dot(draw.weights_N, errors_N) / draw.total)

    return statistic


def _stream(sums: Sums) -> Measure:
    return defined(sums.absolute / sums.weight) if sums.weight > 0 else undefined(NO_ROWS)


mae = Metric(
    name="mae",
    kinds=CONTINUOUS,
    higher_is_better=False,
    bind_rows=_bind,
    stream=_stream,
)
"""MAE = sum of w |p - y| / sum of w, in the unit of the label, at least 0."""
