"""Evaluating rows that do not fit in memory: sums and a histogram, chunk by chunk.

Shapes: N rows, T tasks, S numbers of state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyrank.evaluation._bootstrap import no_interval
from polyrank.evaluation._evaluation import Evaluation, EvaluationRow
from polyrank.evaluation._measure import Measure, undefined
from polyrank.evaluation._metric import Metric
from polyrank.evaluation._observations import Observations
from polyrank.evaluation._registry import EvaluatedTask, choose_metrics
from polyrank.evaluation._rows import Floats, Rows
from polyrank.evaluation._sums import STATE_SIZE, Sums, summarise

NEEDS_EXACT = "needs all rows in memory (evaluation.exact_rows, --exact-rows)"

OF_EXACT = " of the exact value"


class StreamingEvaluator:
    """Metrics in constant memory (394 kB a task), without intervals.

    Exact up to rounding: log loss, NE, ratio, MAE, RMSE. AUC and ECE come from a histogram of
    logit(probability): 16384 cells of width 0.00244 over [-20, 20], the outermost open. Their
    error is bounded by the data seen, which ``interval_reason`` tells and ``error_bounds`` gives:
    for AUC at most half the share of the pairs (positive, negative) that fall into one cell, for
    ECE less than twice the share of the weight in the cells that hold the edge of a bin. What needs
    all rows of a group, or all rows, is NaN with that reason.

    Sums only add: any split of the rows into chunks gives the same result up to rounding.

    Args:
        tasks: What to evaluate.
        metrics: As in ``evaluate``.

    Raises:
        ConfigError: As ``evaluate``.
    """

    def __init__(
        self,
        tasks: Sequence[EvaluatedTask],
        metrics: Sequence[str | Metric] | None = None,
    ) -> None:
        self._tasks = tuple(tasks)
        self._chosen = choose_metrics(self._tasks, metrics)
        self._state_TS = np.zeros((len(self._tasks), STATE_SIZE))

    def update(self, observations: Observations) -> None:
        """Add rows; either all of them count or, after an error, none.

        Raises:
            ConfigError: A task without predictions.
            DataError: A label or prediction the metrics are not defined for.
        """
        parts = [_summarise(task, observations.select(task.name)) for task in self._tasks]
        self._state_TS += np.stack(parts) if parts else 0.0

    def result(self) -> Evaluation:
        """The metrics of all rows so far; ``mode`` is ``"streamed"``."""
        bounds = self.error_bounds()
        rows = tuple(
            _entry(task, metric, Sums(state_S), bounds.get((task.name, metric.name)))
            for task, state_S in zip(self._tasks, self._state_TS, strict=True)
            for metric in self._chosen[task.name]
        )
        return Evaluation(
            rows=rows, mode="streamed", unit=None, resamples=0, seed=0, confidence=0.95
        )

    def error_bounds(self) -> dict[tuple[str, str], float]:
        """By (task, metric): how far a value from the histogram may be from the exact one."""
        return {
            (task.name, metric.name): metric.stream_error(Sums(state_S))
            for task, state_S in zip(self._tasks, self._state_TS, strict=True)
            for metric in self._chosen[task.name]
            if metric.stream_error is not None
        }


def _summarise(task: EvaluatedTask, rows: Rows) -> Floats:
    binary = task.kind == "binary"
    if binary:
        rows.require_binary("evaluation")
        rows.require_probabilities("evaluation")
    if task.kind == "duration":
        rows.require_gains("evaluation")
    with np.errstate(over="ignore", invalid="ignore"):
        return summarise(rows, binary)


def _stream(metric: Metric, sums: Sums) -> Measure:
    if metric.stream is None:
        return undefined(NEEDS_EXACT)
    with np.errstate(over="ignore", invalid="ignore"):
        return metric.stream(sums)


def _entry(task: EvaluatedTask, metric: Metric, sums: Sums, bound: float | None) -> EvaluationRow:
    point = _stream(metric, sums)
    known = bound is not None and point.reason is None
    interval = no_interval(f"within {bound:.1e}{OF_EXACT}" if known else NEEDS_EXACT)
    return EvaluationRow(
        task=task.name,
        slice=None,
        metric=metric.name,
        value=point.value,
        lower=interval.lower,
        upper=interval.upper,
        rows=sums.rows,
        positives=sums.positives if task.kind == "binary" else None,
        reason=point.reason,
        interval_reason=interval.reason,
    )
