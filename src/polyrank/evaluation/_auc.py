"""Area under the ROC curve.

Shapes: N rows, R runs of equal predictions.
"""

from __future__ import annotations

import numpy as np

from polyrank.evaluation._measure import NO_NEGATIVES, NO_POSITIVES, Measure, defined, undefined
from polyrank.evaluation._metric import BINARY, Metric, Statistic
from polyrank.evaluation._rows import Draw, Floats, Ints, Rows, rescale, sum_runs
from polyrank.evaluation._segments import concordance
from polyrank.evaluation._sums import Sums


def one_class(positives: float, negatives: float) -> Measure | None:
    """The undefined measure of rows that lack a class, else ``None``."""
    if positives == 0:
        return undefined(NO_POSITIVES)
    return undefined(NO_NEGATIVES) if negatives == 0 else None


def _area(positives_R: Floats, negatives_R: Floats) -> Measure:
    positives, negatives = float(positives_R.sum()), float(negatives_R.sum())
    missing = one_class(positives, negatives)
    return missing or defined(concordance(positives_R, negatives_R) / (positives * negatives))


def _bind(rows: Rows, groups_N: Ints) -> Statistic:
    rows.require_binary("auc")

    def statistic(draw: Draw) -> Measure:
        weights_N = draw.weights_N
        positives_R = sum_runs(weights_N * rows.labels_N, rows.runs_R)
        negatives_R = sum_runs(weights_N * (1 - rows.labels_N), rows.runs_R)
        return _area(positives_R, negatives_R)

    return statistic


def _stream(sums: Sums) -> Measure:
    return _area(*rescale(np.stack([sums.positives_C, sums.negatives_C])))


def _stream_error(sums: Sums) -> float:
    positives_C, negatives_C = rescale(np.stack([sums.positives_C, sums.negatives_C]))
    pairs = float(positives_C.sum()) * float(negatives_C.sum())
    return float(np.dot(positives_C, negatives_C)) / (2 * pairs) if pairs > 0 else 0.0


auc = Metric(
    name="auc",
    kinds=BINARY,
    higher_is_better=True,
    bind_rows=_bind,
    stream=_stream,
    stream_error=_stream_error,
)
"""AUC = sum over pairs (i positive, j negative) of w_i w_j ([p_i > p_j] + [p_i = p_j] / 2),
divided by the sum of w_i w_j: the chance that a positive is predicted above a negative.

In [0, 1], 1/2 for no order. Needs both classes. Source: Hanley and McNeil 1982; Fawcett 2006,
algorithm 3.

Streamed, the rows of one histogram cell count as ties: the error is at most sum over cells of
P_c N_c / (2 P N), with P_c and N_c the weights of its positives and negatives.
"""
