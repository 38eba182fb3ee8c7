"""Evaluating predictions: by task and slice, with intervals.

Shapes: N rows, R replicates, M metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from polyrank.errors import ConfigError, suggest
from polyrank.evaluation._bootstrap import Bootstrap, Interval, no_interval
from polyrank.evaluation._evaluation import Evaluation, EvaluationRow
from polyrank.evaluation._measure import Measure, undefined
from polyrank.evaluation._metric import Metric, Statistic, measure
from polyrank.evaluation._observations import Array, Observations
from polyrank.evaluation._registry import EvaluatedTask, choose_metrics
from polyrank.evaluation._rows import Floats, Ints, Rows

MAX_SLICE_VALUES = 1000


def evaluate(
    observations: Observations,
    tasks: Sequence[EvaluatedTask],
    *,
    metrics: Sequence[str | Metric] | None = None,
    slices: Sequence[str] = (),
    slice_intervals: bool = False,
    resamples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
) -> Evaluation:
    """Metrics of each task over its observed rows, with bootstrap intervals.

    Intervals are percentiles over replicates that draw users with replacement (requests, if no
    user is known; else rows; ``Evaluation.unit`` says which): rows of one user are not
    independent, and intervals that take them to be so are too narrow. Those of ``ece`` are shifted
    onto the value, since replicates lie above it; see there what they hold.

    Args:
        observations: Predictions and labels, all rows.
        tasks: What to evaluate; a task has a name and a kind.
        metrics: Names that ``find_metric`` knows, or metrics; ``METRICS``, if left out. Each is
            computed for the tasks of its kinds. GAUC groups by user, else by request; NDCG by
            request.
        slices: Columns of ``observations.slices``; each of their values is evaluated too. A
            missing value (None, NaN) is the slice ``"column=null"``.
        slice_intervals: Give the slices intervals as well (as many bootstraps as slices).
        resamples: Replicates; 0 for no intervals.
        seed: Seed of the replicates.
        confidence: Of the intervals, between 0 and 1.

    Raises:
        ConfigError: An unknown task, metric or slice, a metric that fits no task, a slice of more
            than 1000 values, or a setting out of range.
        DataError: A label or prediction the metrics are not defined for.
    """
    chosen = choose_metrics(tasks, metrics)
    parts = {column: split_by(observations, column) for column in slices}
    bootstrap = Bootstrap.of(observations, resamples, seed, confidence)
    rows: list[EvaluationRow] = []
    for task in tasks:
        for cell in _cells(observations, task, chosen[task.name], parts):
            wanted = cell.slice is None or slice_intervals
            rows.extend(_entries(cell, bootstrap if wanted else None))
    return Evaluation(
        rows=tuple(rows),
        mode="exact",
        unit=bootstrap.unit if resamples else None,
        resamples=resamples,
        seed=seed,
        confidence=confidence,
    )


@dataclass(frozen=True, eq=False)
class Cell:
    """The rows of a task and slice, canonical, with the statistics bound to them."""

    task: EvaluatedTask
    slice: str | None
    rows: Rows
    names: tuple[str, ...]
    statistics: tuple[Statistic, ...]
    biased: tuple[bool, ...]
    """Which of them drawing biases."""

    def points(self) -> list[Measure]:
        """The metrics of all rows."""
        return [measure(statistic, self.rows.draw) for statistic in self.statistics]

    @property
    def positives(self) -> int | None:
        """Labels of 1, of a binary task."""
        if self.task.kind != "binary":
            return None
        return int(np.count_nonzero(self.rows.labels_N == 1))


def bind_cell(
    observations: Observations,
    task: EvaluatedTask,
    metrics: Sequence[Metric],
    rows: Rows,
    slice_: str | None = None,
) -> Cell:
    """Sort the rows once and bind the metrics to them."""
    rows = rows.canonical()
    statistics = tuple(_bind(metric, observations, rows) for metric in metrics)
    names = tuple(metric.name for metric in metrics)
    biased = tuple(metric.biased_by_drawing for metric in metrics)
    return Cell(task, slice_, rows, names, statistics, biased)


def _bind(metric: Metric, observations: Observations, rows: Rows) -> Statistic:
    for key in metric.group_keys:
        if key in observations.groups:
            codes_N = np.asarray(observations.groups[key])[rows.index_N]
            return metric.bind(rows, codes_N.astype(np.int64))
    if metric.group_keys:
        reason = f"needs groups by {' or '.join(metric.group_keys)}"
        return lambda draw: undefined(reason)
    return metric.bind(rows, np.zeros(len(rows), dtype=np.int64))


def _cells(
    observations: Observations,
    task: EvaluatedTask,
    metrics: Sequence[Metric],
    parts: dict[str, tuple[list[str], Ints]],
) -> Iterator[Cell]:
    rows = observations.select(task.name)
    yield bind_cell(observations, task, metrics, rows)
    for column, (names, codes_N) in parts.items():
        codes = codes_N[rows.index_N]
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
        for code, name in enumerate(names):
            part = rows.take(order[bounds[code] : bounds[code + 1]])
            yield bind_cell(observations, task, metrics, part, f"{column}={name}")


def _entries(cell: Cell, bootstrap: Bootstrap | None) -> Iterator[EvaluationRow]:
    points = cell.points()
    intervals: list[Interval]
    if bootstrap is None:
        intervals = [no_interval("no interval was asked for slices")] * len(points)
    else:
        values_RM = bootstrap.replicates(cell.rows, cell.statistics)
        intervals = [
            _interval(bootstrap, values_R, point, biased)
            for values_R, point, biased in zip(values_RM.T, points, cell.biased, strict=True)
        ]
    for name, point, interval in zip(cell.names, points, intervals, strict=True):
        if point.reason is not None:
            interval = no_interval("the value is undefined")
        yield EvaluationRow(
            task=cell.task.name,
            slice=cell.slice,
            metric=name,
            value=point.value,
            lower=interval.lower,
            upper=interval.upper,
            rows=len(cell.rows),
            positives=cell.positives,
            reason=point.reason,
            interval_reason=interval.reason,
        )


def _interval(bootstrap: Bootstrap, values_R: Floats, point: Measure, biased: bool) -> Interval:
    if not biased:
        return bootstrap.interval(values_R)
    shifted = bootstrap.interval(values_R, about=point.value)
    return shifted if shifted.reason else shifted._replace(lower=max(0.0, shifted.lower))


def split_by(observations: Observations, column: str) -> tuple[list[str], Ints]:
    """The names of a column's values and the code of each row."""
    if column not in observations.slices:
        hint = suggest(column, observations.slices)
        raise ConfigError(f"unknown slice '{column}'", hint=hint)
    values = np.asarray(observations.slices[column])
    if values.dtype == object:
        values = np.array([_name(value) for value in values.tolist()], dtype=np.str_)
    uniques, codes_N = np.unique(values, return_inverse=True)
    if len(uniques) > MAX_SLICE_VALUES:
        message = f"slice '{column}' has {len(uniques)} values, at most {MAX_SLICE_VALUES}"
        raise ConfigError(message, hint="cut it into ranges or groups first")
    return _names(uniques), codes_N


def _names(uniques: Array) -> list[str]:
    return [_name(value) for value in uniques.tolist()]


def _name(value: object) -> str:
    missing = value is None or value != value
    return "null" if missing else str(value)
