"""Whether a column is a property of a key: one value for each user, or each item."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Constancy = Literal["constant", "varies", "unknown"]

MIN_EXPECTED = 10.0
"""Differences that an unrelated column would show; with fewer there is nothing to conclude."""
MAX_SHARE = 0.02
"""Observed over expected differences up to which a column counts as constant: logs have errors."""


def constancy(codes_B: npt.NDArray[np.int64], groups_B: npt.NDArray[np.int64]) -> Constancy:
    """Whether ``codes_B`` has one value within each group.

    Every row is compared with the first of its group. A column that has nothing to do with the
    groups differs there with the probability that two random rows differ, 1 - sum of p^2.

    Args:
        codes_B: A number for each value.
        groups_B: A number for each group; rows with -1 are left out.
    """
    kept = groups_B >= 0
    order = np.argsort(groups_B[kept], kind="stable")
    groups, codes = groups_B[kept][order], codes_B[kept][order]
    is_first = np.append(True, groups[1:] != groups[:-1])[: len(groups)]
    if not len(groups) or is_first.all():
        return "unknown"
    first = codes[np.flatnonzero(is_first)][np.cumsum(is_first) - 1]
    shares = np.unique(codes, return_counts=True)[1] / len(codes)
    expected = float((~is_first).sum() * (1.0 - (shares**2).sum()))
    if expected < MIN_EXPECTED:
        return "unknown"
    differences = int((codes != first).sum())
    return "constant" if differences <= MAX_SHARE * expected else "varies"
