"""Two models over the same rows: paired differences with intervals.

Shapes: R replicates, M metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polyrank.errors import ConfigError, DataError, suggest
from polyrank.evaluation import _json
from polyrank.evaluation._bootstrap import Bootstrap, Interval, no_interval
from polyrank.evaluation._evaluate import Cell, bind_cell
from polyrank.evaluation._evaluation import require_reason
from polyrank.evaluation._measure import Measure
from polyrank.evaluation._metric import Metric
from polyrank.evaluation._observations import Array, Observations
from polyrank.evaluation._registry import EvaluatedTask, choose_metrics, find_metric
from polyrank.evaluation._rows import Rows

_CURE = "compare models over the same rows in the same order"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One metric of one task, of both models.

    Args:
        task: Name of the task.
        metric: Name of the metric.
        a: The metric of the first model.
        b: The metric of the second.
        difference: b - a; NaN if and only if ``reason`` is set.
        lower: Lower bound of the difference; NaN if and only if ``interval_reason`` is set.
        upper: Upper bound; NaN with ``lower``.
        significant: The interval excludes 0; ``None`` without an interval.
        rows: Observed rows of positive weight.
        positives: Those with a label of 1; ``None`` for a task that is not binary.
        reason: Why there is no difference.
        interval_reason: Why there is no interval.
    """

    task: str
    metric: str
    a: float
    b: float
    difference: float
    lower: float
    upper: float
    significant: bool | None
    rows: int
    positives: int | None
    reason: str | None
    interval_reason: str | None

    def __post_init__(self) -> None:
        require_reason(self.difference, self.reason, "`difference`")
        require_reason(self.lower, self.interval_reason, "`lower`")
        require_reason(self.upper, self.interval_reason, "`upper`")
        if (self.significant is None) != (self.interval_reason is not None):
            raise DataError("`significant` is known if and only if there is an interval")

    @property
    def better(self) -> Literal["A", "B"] | None:
        """The model with the better value, of ``ratio`` the one closer to 1; ``None`` if neither.

        Raises:
            ConfigError: The metric is not one of those known by name.
        """
        higher = find_metric(self.metric).higher_is_better
        gain = self.b - self.a if higher else self.a - self.b
        if higher is None:
            gain = abs(self.a - 1) - abs(self.b - 1)
        return "B" if gain > 0 else "A" if gain < 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result of ``compare``; the fields beside ``rows`` are those of ``Evaluation``."""

    rows: tuple[ComparisonRow, ...]
    unit: str | None
    resamples: int
    seed: int
    confidence: float

    def row(self, task: str, metric: str) -> ComparisonRow:
        """The entry of a metric.

        Raises:
            ConfigError: There is none.
        """
        rows = {f"{row.task}.{row.metric}": row for row in self.rows}
        wanted = f"{task}.{metric}"
        if wanted not in rows:
            raise ConfigError(f"{wanted} was not compared", hint=suggest(wanted, rows))
        return rows[wanted]

    def to_json(self) -> str:
        """Strict JSON: NaN is null and its reason stands beside it."""
        return _json.write("comparison", self)

    @staticmethod
    def from_json(text: str) -> Comparison:
        """What ``to_json`` wrote, the same to the last bit.

        Raises:
            ArtefactError: Anything else.
        """
        return _json.read("comparison", Comparison, ComparisonRow, text)


def compare(
    a: Observations,
    b: Observations,
    tasks: Sequence[EvaluatedTask],
    *,
    metrics: Sequence[str | Metric] | None = None,
    resamples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """Differences b - a of each task's metrics over the same rows.

    Both models see the same bootstrap draws (of users, else requests, else rows), so what is hard
    for both cancels, and the interval is of the difference itself.

    Args:
        a: Predictions of the first model.
        b: Predictions of the second; labels, masks, weights and groups equal those of ``a``.
        tasks: What to compare.
        metrics: As in ``evaluate``.
        resamples: Replicates; 0 for no intervals.
        seed: Seed of the replicates.
        confidence: Of the intervals, between 0 and 1.

    Raises:
        ConfigError: As ``evaluate``.
        DataError: The rows are not the same, or as ``evaluate``.
    """
    chosen = choose_metrics(tasks, metrics)
    _require_same_groups(a, b)
    bootstrap = Bootstrap.of(a, resamples, seed, confidence)
    rows: list[ComparisonRow] = []
    for task in tasks:
        rows_a, rows_b = a.select(task.name), b.select(task.name)
        _require_same_labels(rows_a, rows_b)
        cell_a = bind_cell(a, task, chosen[task.name], rows_a)
        cell_b = bind_cell(b, task, chosen[task.name], rows_b)
        rows.extend(_entries(cell_a, cell_b, bootstrap))
    return Comparison(
        rows=tuple(rows),
        unit=bootstrap.unit if resamples else None,
        resamples=resamples,
        seed=seed,
        confidence=confidence,
    )


def _entries(cell_a: Cell, cell_b: Cell, bootstrap: Bootstrap) -> Iterator[ComparisonRow]:
    values_RM = bootstrap.replicates(cell_b.rows, cell_b.statistics)
    values_RM -= bootstrap.replicates(cell_a.rows, cell_a.statistics)
    points = zip(
        cell_a.names, cell_a.points(), cell_b.points(), values_RM.T, cell_a.biased, strict=True
    )
    for name, a, b, values_R, biased in points:
        reason = a.reason or b.reason
        interval = bootstrap.interval(values_R, b.value - a.value if biased else None)
        if reason is not None:
            interval = no_interval("the difference is undefined")
        yield _entry(cell_a, name, (a, b), reason, interval)


def _entry(
    cell: Cell, name: str, points: tuple[Measure, Measure], reason: str | None, interval: Interval
) -> ComparisonRow:
    a, b = points
    excludes_0 = interval.lower > 0 or interval.upper < 0
    return ComparisonRow(
        task=cell.task.name,
        metric=name,
        a=a.value,
        b=b.value,
        difference=b.value - a.value,
        lower=interval.lower,
        upper=interval.upper,
        significant=excludes_0 if interval.reason is None else None,
        rows=len(cell.rows),
        positives=cell.positives,
        reason=reason,
        interval_reason=interval.reason,
    )


def _require_same_groups(a: Observations, b: Observations) -> None:
    if a.num_rows != b.num_rows or set(a.groups) != set(b.groups):
        message = (
            f"a has {a.num_rows} rows and groups {sorted(a.groups)}, "
            f"b {b.num_rows} and {sorted(b.groups)}"
        )
        raise DataError(message, hint=_CURE)
    for key in a.groups:
        _require_equal(a.groups[key], b.groups[key], f"groups['{key}']", None)


def _require_same_labels(a: Rows, b: Rows) -> None:
    if len(a) != len(b):
        message = f"a has {len(a)} observed rows, b {len(b)}"
        raise DataError(message, where=a.where, hint=_CURE)
    _require_equal(a.index_N, b.index_N, "masks", a.where)
    _require_equal(a.labels_N, b.labels_N, "labels", a.where)
    _require_equal(a.weights_N, b.weights_N, "weights", a.where)


def _require_equal(a: Array, b: Array, what: str, where: str | None) -> None:
    differing = int(np.count_nonzero(np.asarray(a) != np.asarray(b)))
    if differing:
        message = f"{what} of a and b differ in {differing} of {len(a)} rows"
        raise DataError(message, where=where, hint=_CURE)
