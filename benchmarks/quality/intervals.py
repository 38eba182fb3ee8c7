"""Means over seeds, and intervals of paired differences that carry seeds and users.

Shapes: S seeds, R replicates, M metrics.

A replicate draws users with replacement, the same for every model, and seeds with replacement; its
value is the mean over the drawn seeds of metric(model, seed) - metric(reference, seed), all on the
drawn users. The interval holds the middle 95 % of the replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.evaluation import METRICS, Observations
from polyrank.evaluation._bootstrap import Bootstrap
from polyrank.evaluation._evaluate import bind_cell
from polyrank.schema import Task

Floats = NDArray[np.float64]
Key = tuple[str, str]
"""Task and metric."""


@dataclass(frozen=True)
class Replicates:
    """Each metric of one model: ``points`` (S,) on the rows as they are, ``draws`` (S, R)."""

    points: Mapping[Key, Floats]
    draws: Mapping[Key, Floats]


@dataclass(frozen=True)
class Difference:
    """A model less the reference, with its interval."""

    mean: float
    lower: float
    upper: float


def replicate(
    by_seed: Sequence[Observations],
    tasks: Sequence[Task],
    metrics: Mapping[str, Sequence[str]],
    *,
    resamples: int,
) -> Replicates:
    """Metrics of one model, trained with several seeds, on the same rows.

    Args:
        by_seed: Predictions of each seed's model.
        tasks: What to measure.
        metrics: Names of metrics by kind of task.
        resamples: Draws of users, the same for every call.
    """
    points: dict[Key, list[float]] = {}
    draws: dict[Key, list[Any]] = {}
    for observations in by_seed:
        bootstrap = Bootstrap.of(observations, resamples, 0, 0.95)
        for task in tasks:
            chosen = [METRICS[name] for name in metrics[task.kind]]
            cell = bind_cell(observations, task, chosen, observations.select(task.name))
            values_RM = bootstrap.replicates(cell.rows, cell.statistics)
            for place, (name, point) in enumerate(zip(cell.names, cell.points(), strict=True)):
                points.setdefault((task.name, name), []).append(point.value)
                draws.setdefault((task.name, name), []).append(values_RM[:, place])
    return Replicates(
        points={key: np.array(values) for key, values in points.items()},
        draws={key: np.stack(values) for key, values in draws.items()},
    )


def difference(model: Replicates, reference: Replicates, key: Key) -> Difference:
    """``model`` less ``reference``, seed by seed."""
    paired_SR = model.draws[key] - reference.draws[key]
    num_seeds, resamples = paired_SR.shape
    seeds_RS = np.random.default_rng(0).integers(0, num_seeds, (resamples, num_seeds))
    means_R = paired_SR[seeds_RS, np.arange(resamples)[:, None]].mean(axis=1)
    lower, upper = np.nanquantile(means_R, (0.025, 0.975))
    mean = float(np.mean(model.points[key] - reference.points[key]))
    return Difference(mean, float(lower), float(upper))
