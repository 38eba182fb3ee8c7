"""How far predictions are calibrated, before and after a calibration: the data of a diagram.

Shapes: N rows, B bins.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.audit.plain import Z95, Plain, wilson
from polyrank.calibration import Calibrator, fit_guarded
from polyrank.evaluation import METRICS, Observations, evaluate
from polyrank.schema import Task

NUM_BINS = 15
"""As of ECE."""
SHOWN = ("ratio", "ece")
NO_PROBABILITY = "only probabilities of binary tasks are calibrated"

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Bin(Plain):
    """Rows of neighbouring predictions."""

    rows: int
    share: float
    """Of all weight."""
    prediction: float
    """Weighted mean, like the label's."""
    label: float
    low: float | None
    """Of the label's 95 % interval, as if rows were independent: Wilson's for shares, else the
    normal one; weights count by (Σw)² / Σw² rows. None where one row tells nothing of it."""
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Curve(Plain):
    """Of one task's predictions."""

    ratio: float | None
    """Sum of predictions over sum of labels."""
    ece: float | None
    reasons: Mapping[str, str]
    """Why ratio or ECE is None."""
    bins: tuple[Bin, ...]
    """At most 15 of equal mass, by rising prediction: those of ECE, equal predictions together."""


@dataclass(frozen=True, kw_only=True)
class Reliability(Plain):
    """Of one task."""

    before: Curve
    after: Curve | None
    """None where nothing was calibrated."""
    method: str
    """What was done between the two, or why nothing was."""


def reliability(
    observations: Observations, task: Task, method: Calibrator | None, *, seed: int = 0
) -> Reliability:
    """Before, and after a calibration that no row was judged by: fitted on the rows of one half of
    the users (of the rows, where the log names none) and applied to those of the other, both ways.

    Args:
        observations: Predictions that nothing calibrated yet, and what was observed.
        task: Of them.
        method: Of the calibration, if any.
        seed: Of the halves.
    """
    before = curve(observations, task)
    told = _untold(task, method)
    if told is not None or method is None:
        return Reliability(before=before, after=None, method=told or "none configured")
    fitted = _crossed(observations, task.name, method, seed)
    predictions = {**observations.predictions, task.name: fitted}
    after = curve(dataclasses.replace(observations, predictions=predictions), task)
    kind = getattr(method, "kind", type(method).__name__)
    return Reliability(before=before, after=after, method=f"{kind}, each half by the other")


def _untold(task: Task, method: Calibrator | None) -> str | None:
    if task.kind != "binary":
        return NO_PROBABILITY
    if method is not None and method.segment_by is not None:
        return f"{method.segment_by!r}, by which segments are made, is not in the encoded log"
    return None


def _crossed(observations: Observations, task: str, method: Calibrator, seed: int) -> Floats:
    first_N = _first_half(observations, seed)
    weights_N = observations.weights_of(task)
    ones_N = np.ones(observations.num_rows) if weights_N is None else weights_N
    counted_N = np.where(observations.masks[task], ones_N, 0.0)
    predictions_N = np.asarray(observations.predictions[task], dtype=np.float64)
    found_N = predictions_N.copy()
    for half_N in (first_N, ~first_N):
        fitted, _ = fit_guarded(
            method,
            predictions_N[half_N],
            observations.labels[task][half_N],
            counted_N[half_N],
            None,
        )
        found_N[~half_N] = fitted(predictions_N[~half_N])
    return found_N


def _first_half(observations: Observations, seed: int) -> NDArray[np.bool_]:
    """Whole users; a row without one is a user of its own."""
    rng = np.random.default_rng(seed)
    alone_N = rng.random(observations.num_rows) < 0.5
    user_N = observations.groups.get("user")
    if user_N is None:
        return alone_N
    users, place_N = np.unique(user_N, return_inverse=True)
    return np.where(user_N < 0, alone_N, (rng.random(len(users)) < 0.5)[place_N])


def curve(observations: Observations, task: Task) -> Curve:
    """Of one task: what the metrics say, and the bins."""
    fitting = [name for name in SHOWN if task.kind in METRICS[name].kinds]
    values: dict[str, float | None] = {}
    unfit = [name for name in SHOWN if name not in fitting]
    reasons = dict.fromkeys(unfit, f"not of {task.kind} tasks")
    if fitting:
        only = Observations(
            predictions={task.name: observations.predictions[task.name]},
            labels={task.name: observations.labels[task.name]},
            masks={task.name: observations.masks[task.name]},
            weights=observations.weights_of(task.name),
        )
        for row in evaluate(only, [task], metrics=fitting, resamples=0).rows:
            values[row.metric] = row.value if row.reason is None else None
            reasons |= {} if row.reason is None else {row.metric: row.reason}
    return Curve(
        ratio=values.get("ratio"),
        ece=values.get("ece"),
        reasons=reasons,
        bins=_bins(observations.select(task.name).canonical(), binary=task.kind == "binary"),
    )


def _bins(rows: Any, *, binary: bool) -> tuple[Bin, ...]:
    """Of canonical rows, as ECE makes them: a run of equal predictions belongs to the bin in which
    the middle of its mass lies."""
    if not len(rows):
        return ()
    ends_N = np.cumsum(rows.weights_N)
    starts_R = rows.runs_R
    ends_R = ends_N[np.append(starts_R[1:], len(rows)) - 1]
    begins_R = np.append(0.0, ends_R[:-1])
    middles_R = (begins_R + ends_R) / 2
    edges_B = ends_N[-1] * np.arange(NUM_BINS) / NUM_BINS
    firsts = np.unique(np.searchsorted(middles_R, edges_B))
    cuts = starts_R[firsts[firsts < len(starts_R)]]
    slices = zip(cuts, np.append(cuts[1:], len(rows)), strict=True)
    return tuple(_bin(rows, slice(start, stop), ends_N[-1], binary) for start, stop in slices)


def _bin(rows: Any, own: slice, total: float, binary: bool) -> Bin:
    weights_N, labels_N = rows.weights_N[own], rows.labels_N[own]
    mass = float(weights_N.sum())
    label = float(weights_N @ labels_N) / mass
    effective = mass**2 / float(weights_N @ weights_N)
    low, high = _interval(label, labels_N, weights_N / mass, effective, binary)
    return Bin(
        rows=len(labels_N),
        share=mass / float(total),
        prediction=float(weights_N @ rows.predictions_N[own]) / mass,
        label=label,
        low=low,
        high=high,
    )


def _interval(
    label: float, labels_N: Floats, shares_N: Floats, effective: float, binary: bool
) -> tuple[float | None, float | None]:
    if binary:
        return wilson(min(1.0, label), effective)
    if effective < 1.5:
        return None, None
    variance = float(shares_N @ (labels_N - label) ** 2) * effective / (effective - 1)
    half = Z95 * math.sqrt(variance / effective)
    return label - half, label + half
