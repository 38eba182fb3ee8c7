"""Whether predictions still say how often things happen, once labels are there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray

from polyrank.evaluation import METRICS, NO_GROUP, Evaluation, EvaluationRow, Observations, evaluate
from polyrank.monitoring.events import mean_bounds, spread
from polyrank.monitoring.reading import Seen
from polyrank.monitoring.thresholds import Level, Thresholds
from polyrank.monitoring.watched import Calibrated
from polyrank.schema import Task

LEAST_POSITIVES = 10
"""Where fewer events came and fewer were predicted, no ratio is an alarm; where fewer came, the
number is judged by ``Events``, not by draws over users."""
_TAIL = 0.025
"""Of each end of an interval that is shown."""
_RATIO, _ECE = "ratio", "ece"
_NAN = math.nan


def calibration(seen: Seen, limits: Thresholds, resamples: int) -> tuple[Calibrated, ...]:
    """The calibration of each task with labels.

    Args:
        seen: A log.
        limits: When a ratio is an alarm: its interval, at a confidence for all tasks together,
            lies beyond 1 by more than the margin. Only of binary tasks: other heads may predict a
            median, whose ratio is not 1. Of few events the interval is ``Events.ratio``.
        resamples: Bootstrap draws over users (requests, rows) of each interval.
    """
    if seen.observations is None:
        return ()
    return tuple(_calibrations(seen.observations, seen.tasks, limits, resamples))


def _calibrations(
    rows: Observations, tasks: tuple[Task, ...], limits: Thresholds, resamples: int
) -> Iterator[Calibrated]:
    binary = [task for task in tasks if task.kind == "binary"]
    tail = limits.chance / 2 / max(len(binary), 1)
    for task in tasks:
        metrics = [name for name in (_RATIO, _ECE) if task.kind in METRICS[name].kinds]
        if not metrics:
            continue
        found = evaluate(rows, [task], metrics=metrics, resamples=resamples)
        ratio, events = found.row(task.name, _RATIO), Events.of(rows, task.name)
        ece = _row(found, task, _ECE)
        few = task.kind == "binary" and _is_told_by_few(ratio, resamples)
        lower, upper = events.ratio(_TAIL) if few else (ratio.lower, ratio.upper)
        silent = _silent(rows, task, ratio, events, limits)
        margin = limits.ratio_margin
        loud = events.level(margin, tail) if few else ratio_level(ratio, margin, tail)
        yield Calibrated(
            task=task.name,
            rows=ratio.rows,
            positives=ratio.positives,
            expected=events.expected,
            ratio=ratio.value,
            lower=lower,
            upper=upper,
            ece=_NAN if ece is None else ece.value,
            ece_lower=_NAN if ece is None else ece.lower,
            ece_upper=_NAN if ece is None else ece.upper,
            level="quiet" if silent else loud,
            reason=ratio.reason or silent,
        )


@dataclass(frozen=True)
class Events:
    """The events of a task: what is predicted of its rows with a label, and what came.

    Whether the two agree is judged as of a Poisson count (``mean_bounds``) after both were divided
    by ``spread``, so events of few users are taken for less.
    """

    expected: float
    """The sum of predictions, times weights."""
    came: float
    """The sum of labels, times weights."""
    spread: float

    @classmethod
    def of(cls, rows: Observations, task: str) -> Self:
        """Of one task, whose labels need not be events for ``expected`` to hold."""
        mask_N = rows.masks[task]
        weight_N = np.ones(rows.num_rows) if rows.weights is None else rows.weights
        weight_N, chance_N = weight_N[mask_N], rows.predictions[task][mask_N]
        came = float(weight_N @ rows.labels[task][mask_N])
        found = spread(weight_N, chance_N, _units(rows)[mask_N])
        return cls(float(weight_N @ chance_N), came, found)

    def ratio(self, tail: float) -> tuple[float, float]:
        """Predicted over what can be expected from what came, with probability ``tail`` beyond each
        end; the upper one is NaN, without bound, where nothing came."""
        least, most = mean_bounds(self.came / self.spread, tail)
        told = self.expected / self.spread
        return told / most, told / least if least > 0 else _NAN

    def level(self, margin: float, tail: float) -> Level:
        """An alarm where an end of ``ratio`` lies beyond 1 by more than the margin."""
        lower, upper = self.ratio(tail)
        return "alarm" if lower > 1 + margin or upper < 1 / (1 + margin) else "quiet"


def ratio_level(row: EvaluationRow, margin: float, tail: float) -> Level:
    """An alarm where the ratio is off by more than the margin, at a probability of ``tail`` on the
    log scale; the standard error there is that of its 95 % interval."""
    if not _has_interval(row):
        return "quiet"
    z = -NormalDist().inv_cdf(tail)
    error = math.log(row.upper / row.lower) / (2 * NormalDist().inv_cdf(0.975))
    center = math.log(row.value)
    too_high = center - z * error > math.log1p(margin)
    too_low = center + z * error < -math.log1p(margin)
    return "alarm" if too_high or too_low else "quiet"


def _is_told_by_few(ratio: EvaluationRow, resamples: int) -> bool:
    """Whether draws say nothing: few events, or such as most draws leave out."""
    few = (ratio.positives or 0) < LEAST_POSITIVES
    return few or (resamples > 0 and not _has_interval(ratio))


def _has_interval(row: EvaluationRow) -> bool:
    return row.lower > 0 and row.upper < math.inf


def _silent(
    rows: Observations, task: Task, ratio: EvaluationRow, events: Events, limits: Thresholds
) -> str | None:
    """Why no ratio of a task is an alarm; null: it may be."""
    if task.kind != "binary":
        return "no alarm: what its head predicts need not be a mean"
    units = len(np.unique(_units(rows)[rows.masks[task.name]]))
    most = max(ratio.positives or 0, events.expected)
    few = units < limits.min_units or most < LEAST_POSITIVES
    return "too few to judge by" if few else None


def _row(found: Evaluation, task: Task, metric: str) -> EvaluationRow | None:
    rows = (row for row in found.rows if (row.task, row.metric) == (task.name, metric))
    return next(rows, None)


def _units(rows: Observations) -> NDArray[np.int64]:
    """(N,) The user (request, row) of each row; a row of nobody's is a unit of its own."""
    alone_N = -1 - np.arange(rows.num_rows)
    groups = (rows.groups[what] for what in ("user", "request") if what in rows.groups)
    code_N = next(groups, alone_N)
    return np.where(code_N == NO_GROUP, alone_N, code_N)
