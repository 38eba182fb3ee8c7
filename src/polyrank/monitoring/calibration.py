"""Whether predictions still say how often things happen, once labels are there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from polyrank.evaluation import METRICS, Evaluation, EvaluationRow, Observations, evaluate
from polyrank.monitoring.reading import Seen
from polyrank.monitoring.thresholds import Level, Thresholds
from polyrank.monitoring.watched import Calibrated
from polyrank.schema import Task

LEAST_POSITIVES = 10
"""Of fewer events no ratio is an alarm."""
_RATIO, _ECE = "ratio", "ece"
_NAN = math.nan


def calibration(seen: Seen, limits: Thresholds, resamples: int) -> tuple[Calibrated, ...]:
    """The calibration of each task with labels.

    Args:
        seen: A log.
        limits: When a ratio is an alarm: its interval, at a confidence for all tasks together,
            lies beyond 1 by more than the margin. Only of binary tasks: other heads may predict a
            median, whose ratio is not 1.
        resamples: Bootstrap draws over users (requests, rows) of each interval.
    """
    if seen.observations is None:
        return ()
    return tuple(_calibrations(seen.observations, seen.tasks, limits, resamples))


def _calibrations(
    rows: Observations, tasks: tuple[Task, ...], limits: Thresholds, resamples: int
) -> Iterator[Calibrated]:
    binary = [task for task in tasks if task.kind == "binary"]
    z = -NormalDist().inv_cdf(limits.chance / 2 / max(len(binary), 1))
    for task in tasks:
        metrics = [name for name in (_RATIO, _ECE) if task.kind in METRICS[name].kinds]
        if not metrics:
            continue
        found = evaluate(rows, [task], metrics=metrics, resamples=resamples)
        ratio = found.row(task.name, _RATIO)
        ece = _row(found, task, _ECE)
        silent = _silent(rows, task, ratio, limits)
        yield Calibrated(
            task=task.name,
            rows=ratio.rows,
            positives=ratio.positives,
            ratio=ratio.value,
            lower=ratio.lower,
            upper=ratio.upper,
            ece=_NAN if ece is None else ece.value,
            ece_lower=_NAN if ece is None else ece.lower,
            ece_upper=_NAN if ece is None else ece.upper,
            level="quiet" if silent else ratio_level(ratio, limits.ratio_margin, z),
            reason=ratio.reason or silent,
        )


def ratio_level(row: EvaluationRow, margin: float, z: float) -> Level:
    """An alarm where the ratio is off by more than the margin, ``z`` standard errors from it on
    the log scale; the errors are those of its 95 % interval."""
    if not (row.lower > 0 and row.value > 0):
        return "quiet"
    error = math.log(row.upper / row.lower) / (2 * NormalDist().inv_cdf(0.975))
    center = math.log(row.value)
    too_high = center - z * error > math.log1p(margin)
    too_low = center + z * error < -math.log1p(margin)
    return "alarm" if too_high or too_low else "quiet"


def _silent(rows: Observations, task: Task, ratio: EvaluationRow, limits: Thresholds) -> str | None:
    """Why no ratio of a task is an alarm; null: it may be."""
    if task.kind != "binary":
        return "no alarm: what its head predicts need not be a mean"
    few = _units(rows, task.name) < limits.min_units or (ratio.positives or 0) < LEAST_POSITIVES
    return "too few to judge by" if few else None


def _row(found: Evaluation, task: Task, metric: str) -> EvaluationRow | None:
    rows = (row for row in found.rows if (row.task, row.metric) == (task.name, metric))
    return next(rows, None)


def _units(rows: Observations, task: str) -> int:
    """Users (requests, rows) with a label."""
    for what in ("user", "request"):
        if what in rows.groups:
            return len(np.unique(rows.groups[what][rows.masks[task]]))
    return int(np.count_nonzero(rows.masks[task]))
