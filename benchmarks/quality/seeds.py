"""A number a seed: the mean, and a 95 % interval by Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t

Estimate = tuple[float, float, float]
"""Mean, lower and upper bound."""


def over_seeds(values: Sequence[float]) -> Estimate:
    """Of at least two values, one a seed; of differences, pair them before."""
    number = len(values)
    mean = float(np.mean(values))
    spread = float(np.std(values, ddof=1)) / math.sqrt(number)
    half = float(t.ppf(0.975, number - 1)) * spread
    return mean, mean - half, mean + half


def interval(values: Sequence[float], form: str = "+.4f") -> str:
    """``over_seeds`` in a cell."""
    mean, lower, upper = over_seeds(values)
    return f"{mean:{form}} ({lower:{form}} to {upper:{form}})"
