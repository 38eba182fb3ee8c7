"""How far a new version predicts from the one in service, on the same rows.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import ArtefactError
from polyrank.serving.models.rows import Predictions

Floats = NDArray[np.float64]
ALIKE, UNLIKE = 0.99, 0.9
"""Two tasks changed places where each ranks rows as the other did, by at least the first, and not
as itself did, by less than the second."""


def spearman(a_N: Floats, b_N: Floats) -> float:
    """Rank correlation, ties sharing the mean of their ranks; NaN where one does not vary.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0]))
    0.5
    """
    if len(a_N) < 2 or np.ptp(a_N) == 0 or np.ptp(b_N) == 0:
        return float("nan")
    a_N, b_N = _ranks(a_N), _ranks(b_N)
    a_N, b_N = a_N - a_N.mean(), b_N - b_N.mean()
    return float(np.clip(a_N @ b_N / np.sqrt((a_N @ a_N) * (b_N @ b_N)), -1.0, 1.0))


def drift(now: Predictions, before: Predictions) -> dict[str, dict[str, Any]]:
    """By task of both: the means, the largest difference, and the rank correlation (null where one
    does not vary)."""
    found = {}
    for task in [name for name in now if name in before]:
        alike = spearman(now[task], before[task])
        found[task] = {
            "mean_before": float(before[task].mean()),
            "mean_now": float(now[task].mean()),
            "largest": float(np.abs(now[task] - before[task]).max()),
            "rank_correlation": alike if alike == alike else None,
        }
    return found


def check_drift(now: Predictions, before: Predictions, least: float | None) -> None:
    """Refuse a version that predicts constants where rows differed, whose tasks changed places, or
    that ranks too differently.

    Args:
        now: Of the new version.
        before: Of the version in service, for the same rows.
        least: Rank correlation that every task must have; null: any.

    Raises:
        ArtefactError: With the tasks.
    """
    shared = [task for task in now if task in before]
    for task in shared:
        if np.ptp(now[task]) == 0 and np.ptp(before[task]) > 0:
            raise _refused(f"predicts the same {task!r} for all rows; before, they differed")
    found = {(a, b): spearman(now[a], before[b]) for a in shared for b in shared}
    for a, b in combinations(shared, 2):
        if _swapped(found, now, before, a, b):
            raise _refused(f"{a!r} is predicted as {b!r} was, and the reverse: they are swapped")
    for task in shared:
        if least is not None and found[task, task] < least:
            raise _refused(
                f"{task!r} ranks rows unlike before: rank correlation {found[task, task]:.3f}, at "
                f"least {least:g} is asked for"
            )


def _swapped(
    found: Mapping[tuple[str, str], float], now: Predictions, before: Predictions, a: str, b: str
) -> bool:
    crossed = min(found[a, b], found[b, a]) >= ALIKE and max(found[a, a], found[b, b]) < UNLIKE
    same_bits = np.array_equal(now[a], before[b]) and np.array_equal(now[b], before[a])
    return crossed or (same_bits and not np.array_equal(now[a], now[b]))


def _ranks(value_N: Floats) -> Floats:
    _, code_N, count = np.unique(value_N, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: Floats = (last - (count - 1) / 2.0)[code_N]
    return ranks


def _refused(told: str) -> ArtefactError:
    return ArtefactError(
        told, where="drift", hint="Look at the run that made it; the version before stays."
    )
