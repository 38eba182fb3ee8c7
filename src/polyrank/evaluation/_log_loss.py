"""Mean negative log likelihood of binary labels.

Shapes: N rows.
"""

from __future__ import annotations

from polyrank.evaluation._measure import NO_ROWS, Measure, defined, undefined
from polyrank.evaluation._metric import BINARY, Metric, Statistic, dot
from polyrank.evaluation._rows import Draw, Ints, Rows
from polyrank.evaluation._sums import Sums, losses


def _bind(rows: Rows, groups_N: Ints) -> Statistic:
    rows.require_binary("log_loss")
    rows.require_probabilities("log_loss")
    losses_N = losses(rows.labels_N, rows.predictions_N)

    def statistic(draw: Draw) -> Measure:
        return defined(dot(draw.weights_N, losses_N) / draw.total)

    return statistic


def _stream(sums: Sums) -> Measure:
    return defined(sums.log_loss / sums.weight) if sums.weight > 0 else undefined(NO_ROWS)


log_loss = Metric(
    name="log_loss",
    kinds=BINARY,
    higher_is_better=False,
    bind_rows=_bind,
    stream=_stream,
)
"""Log loss = -sum of w (y ln p + (1 - y) ln(1 - p)) / sum of w, in nats, at least 0.

Probabilities are clipped to [e, 1 - e] with e = 2^-52, float64's machine epsilon: a sure and wrong
prediction costs 36.04 nats, not infinity. Defined with one class.
"""
