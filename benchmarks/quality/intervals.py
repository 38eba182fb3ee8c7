"""Means over seeds, and intervals of paired differences that carry seeds and users.

Shapes: S seeds, R replicates, M metrics.

A replicate draws users with replacement, the same for every model, and seeds with replacement; its
value is the mean over the drawn seeds of metric(model, seed) - metric(reference, seed), all on the
drawn users. The interval holds the middle 95 % of the replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyrank.evaluation import Observations, resample
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
    kinds = {task.kind for task in tasks}
    names = list(dict.fromkeys(name for kind in metrics if kind in kinds for name in metrics[kind]))
    found = [resample(one, tasks, metrics=names, resamples=resamples) for one in by_seed]
    return Replicates(
        points={key: np.array([one.points[key] for one in found]) for key in found[0].points},
        draws={key: np.stack([one.draws[key] for one in found]) for key in found[0].draws},
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
