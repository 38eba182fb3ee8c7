"""Cluster bootstrap: resample whole users with replacement, as row multiplicities.

Shapes: N rows, U units, R replicates, M metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from polyrank.errors import ConfigError
from polyrank.evaluation._metric import NO_GROUP, Statistic, measure
from polyrank.evaluation._observations import GROUP_KEYS, Observations
from polyrank.evaluation._rows import Floats, Ints, Rows

# Replicates without a value (no positive was drawn, say) are left out; with more than this share
# of them what is left no longer stands for all, and there is no interval.
MAX_UNDEFINED = 0.05


class Interval(NamedTuple):
    """Lower and upper bound, or NaN twice and the reason."""

    lower: float
    upper: float
    reason: str | None


def no_interval(reason: str) -> Interval:
    """No bounds, and why."""
    return Interval(math.nan, math.nan, reason)


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """The draws: a replicate depends on the seed, its number and the count of units alone.

    So every task, metric, slice and model sees the same draws, and differences are paired. Units
    are numbered by their code, so the order of rows does not matter, unless rows are the units, as
    those without a key are.
    """

    unit: str  # "user", "request" or "row": what is drawn
    units_N: Ints
    num_units: int
    resamples: int
    seed: int
    confidence: float

    @staticmethod
    def of(observations: Observations, resamples: int, seed: int, confidence: float) -> Bootstrap:
        """Draws over users where they are known, else over requests, else over rows."""
        _check(resamples, seed, confidence)
        for key in GROUP_KEYS:
            if key in observations.groups:
                units_N, num_units = _units(observations.groups[key])
                return Bootstrap(key, units_N, num_units, resamples, seed, confidence)
        units_N = np.arange(observations.num_rows)
        return Bootstrap("row", units_N, len(units_N), resamples, seed, confidence)

    def replicates(self, rows: Rows, statistics: Sequence[Statistic]) -> Floats:
        """Shape (R, M): every statistic in every replicate, NaN where it is undefined."""
        units_N = self.units_N[rows.index_N]
        values_RM = np.full((self.resamples, len(statistics)), np.nan)
        for replicate in range(self.resamples):
            draw = rows.draw_of(self._counts(replicate)[units_N])
            values_RM[replicate] = [measure(statistic, draw).value for statistic in statistics]
        return values_RM

    def _counts(self, replicate: int) -> Floats:
        generator = np.random.default_rng((self.seed, replicate))
        drawn_U = generator.integers(0, self.num_units, self.num_units)
        return np.bincount(drawn_U, minlength=self.num_units).astype(np.float64)

    def interval(self, values_R: Floats, about: float | None = None) -> Interval:
        """The percentile interval of replicates (Efron and Tibshirani 1993, chapter 13).

        Args:
            values_R: One metric in every replicate.
            about: For a metric that drawing biases: its value on all rows, onto which the mean of
                the replicates is shifted.
        """
        if self.resamples == 0:
            return no_interval("no resamples were asked for")
        if self.num_units < 2:
            return no_interval(f"fewer than 2 {self.unit}s to draw from")
        defined_R = values_R[~np.isnan(values_R)]
        missing = len(values_R) - len(defined_R)
        if missing > MAX_UNDEFINED * len(values_R):
            return no_interval(f"undefined in {missing} of {len(values_R)} resamples")
        tail = (1 - self.confidence) / 2
        if about is not None:
            defined_R = defined_R - defined_R.mean() + about
        lower, upper = np.quantile(defined_R, (tail, 1 - tail))
        return Interval(float(lower), float(upper), None)


def _units(codes_N: Ints) -> tuple[Ints, int]:
    """The unit of each row: its key, or, where that is null, a unit of its own."""
    codes_U, units_N = np.unique(codes_N, return_inverse=True)
    alone_N = np.asarray(codes_N) == NO_GROUP
    if not alone_N.any():
        return units_N, len(codes_U)
    # The null key's own number goes to the first of its rows.
    num_alone = int(alone_N.sum())
    units_N[alone_N] = [units_N[alone_N][0], *range(len(codes_U), len(codes_U) + num_alone - 1)]
    return units_N, len(codes_U) + num_alone - 1


def _check(resamples: int, seed: int, confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ConfigError(f"`confidence` must be between 0 and 1, got {confidence}")
    if seed < 0:
        raise ConfigError(f"`seed` must be at least 0, got {seed}")
    least = math.ceil(round(2 / (1 - confidence), 9))
    if resamples != 0 and resamples < least:
        message = (
            f"`resamples` must be 0 or at least {least} for confidence {confidence}, "
            f"got {resamples}"
        )
        raise ConfigError(message, hint="fewer replicates than one in each tail bound nothing")
