"""The bootstrap itself, for comparisons that ``evaluate`` and ``compare`` do not make.

Shapes: R replicates, M metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polyrank.evaluation._bootstrap import Bootstrap
from polyrank.evaluation._evaluate import bind_cell
from polyrank.evaluation._metric import Metric
from polyrank.evaluation._observations import Observations
from polyrank.evaluation._registry import EvaluatedTask, choose_metrics
from polyrank.evaluation._rows import Floats

Key = tuple[str, str]
"""Task and metric."""


@dataclass(frozen=True, eq=False)
class Resampled:
    """Metrics of one model by task and metric, NaN where they are undefined."""

    points: Mapping[Key, float]
    """On the rows as they are."""
    draws: Mapping[Key, Floats]
    """(R,) on each replicate, unshifted: those of ``ece`` lie above its point."""


def resample(
    observations: Observations,
    tasks: Sequence[EvaluatedTask],
    *,
    metrics: Sequence[str | Metric] | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> Resampled:
    """The replicates behind the intervals of ``evaluate``.

    A replicate draws users (else requests, else rows) with replacement. Its draw depends on
    ``seed``, its number and the units of the log alone, so those of several models on the same rows
    are paired: subtract them, average them over seeds, and take quantiles.

    Args:
        observations: Predictions and labels, all rows.
        tasks: What to measure.
        metrics: As in ``evaluate``.
        resamples: R; 0, or as many as 95 % intervals need.
        seed: Of the draws.

    Raises:
        ConfigError, DataError: As ``evaluate``.
    """
    chosen = choose_metrics(tasks, metrics)
    bootstrap = Bootstrap.of(observations, resamples, seed, 0.95)
    points: dict[Key, float] = {}
    draws: dict[Key, Floats] = {}
    for task in tasks:
        cell = bind_cell(observations, task, chosen[task.name], observations.select(task.name))
        values_RM = bootstrap.replicates(cell.rows, cell.statistics)
        for name, point, values_R in zip(cell.names, cell.points(), values_RM.T, strict=True):
            points[task.name, name], draws[task.name, name] = point.value, values_R
    return Resampled(points, draws)
