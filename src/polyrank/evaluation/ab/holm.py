"""Several tests at once: Holm's correction.

>>> holm([0.01, 0.04, 0.03])
[0.03, 0.06, 0.06]
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: those at most alpha are rejected, any false one with chance <= alpha.

    Holm, "A simple sequentially rejective multiple test procedure" (1979): the k-th smallest of m
    is multiplied by m - k + 1, and is no smaller than those before it.

    Args:
        p_values: In [0, 1]; NaN, of a test that could not be made, stays NaN, and counts among m.
    """
    order = sorted(range(len(p_values)), key=lambda index: _last_if_nan(p_values[index]))
    adjusted = [math.nan] * len(p_values)
    least = 0.0
    for rank, index in enumerate(order):
        if math.isnan(p_values[index]):
            break
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


def _last_if_nan(p_value: float) -> float:
    return math.inf if math.isnan(p_value) else p_value
