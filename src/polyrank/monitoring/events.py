"""How many events should have come, given how many did: exactly, as a bootstrap of few says little.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_HALVINGS = 60


def mean_bounds(count: float, tail: float) -> tuple[float, float]:
    """The Poisson means under which so many events or more, and so many or fewer, come by chance
    with probability ``tail``: Garwood's limits (Biometrika 28, 1936) at confidence 1 - 2 ``tail``.

    P(X >= k) is the regularised incomplete gamma function P(k, mean), P(X <= k) is Q(k + 1, mean);
    so ``count`` may be a fraction.

    Args:
        count: At least 0; of 0 the lower mean is 0.
        tail: In (0, 0.5).

    >>> [round(mean, 3) for mean in mean_bounds(0, 0.025)]  # -ln 0.025
    [0.0, 3.689]
    """
    above, below = torch.special.gammainc, torch.special.gammaincc
    most = 2 * count + 1000.0  # beyond the upper mean of any tail that a float can hold
    lower = _solved(lambda mean: _at(above, count, mean) > tail, most) if count else 0.0
    return lower, _solved(lambda mean: _at(below, count + 1, mean) < tail, most)


def spread(weight_N: Floats, chance_N: Floats, unit_N: NDArray[np.int64]) -> float:
    """The variance of the weighted number of events over its mean, at least 1 without weights.

    1 of independent events, and as much more as the rates of units (users) waver: each unit's is
    taken to be its predicted one times a factor of mean and standard deviation 1, so that its count
    is negative binomial, with variance s + s^2 of a mean s. Counts divided by it are about as sure
    as Poisson counts (effective counts; Rao and Scott, Biometrics 48, 1992).

    Args:
        weight_N: What an event of each row counts.
        chance_N: Of an event.
        unit_N: Whose row it is.
    """
    unit_N = np.unique(unit_N, return_inverse=True)[1]
    mean = float(weight_N @ chance_N)
    if mean == 0:
        return 1.0
    unit_U = np.bincount(unit_N, weight_N * chance_N)
    return float(weight_N**2 @ chance_N + unit_U @ unit_U) / mean


def _solved(is_beyond: Callable[[float], bool], most: float) -> float:
    """Where a condition that is false from 0 on becomes true."""
    least = 0.0
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        least, most = (least, middle) if is_beyond(middle) else (middle, most)
    return most


def _at(function: Callable[..., torch.Tensor], shape: float, mean: float) -> float:
    told = (torch.tensor(value, dtype=torch.float64) for value in (shape, mean))
    return float(function(*told))
