"""Samples of labels, and what the training split would show of them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist, fmean, pstdev

import numpy as np

from polyrank.data import TargetStats

NORMAL = tuple(NormalDist().inv_cdf((place + 0.5) / 2000) for place in range(2000))
"""Evenly spread over a standard normal law."""


def stats_of(values: Sequence[float]) -> TargetStats:
    """The moments of values in the space in which they are regressed."""
    return TargetStats(mean=fmean(values), std=pstdev(values) or 1.0, count=len(values))


def stats_of_seconds(seconds: Sequence[float]) -> TargetStats:
    """The moments of log(1 + seconds)."""
    return stats_of([float(np.log1p(each)) for each in seconds])
