"""Sums and orderings within groups of rows, without a loop over the groups.

Shapes: N rows, R runs of equal predictions within a group, G groups.
"""

from __future__ import annotations

import numpy as np

from polyrank.evaluation._rows import Floats, Ints


def sizes_of(starts_G: Ints, total: int) -> Ints:
    """The length of each segment."""
    return np.diff(starts_G, append=total)


def cumulate(values_R: Floats, starts_G: Ints) -> Floats:
    """Running sum within each segment, its own value included.

    One running sum over everything, brought back near zero at each start, so that a segment loses
    no digits to the segments before it.
    """
    totals_G = np.add.reduceat(values_R, starts_G)
    steps_R = values_R.copy()
    steps_R[starts_G[1:]] -= totals_G[:-1]
    running_R = np.cumsum(steps_R)
    offsets_G = running_R[starts_G] - values_R[starts_G]
    running_R -= np.repeat(offsets_G, sizes_of(starts_G, len(values_R)))
    return running_R


def concordance(positives_R: Floats, negatives_R: Floats) -> float:
    """Weight of the pairs (positive, negative) in the right order, ties half.

    ``positives_R`` and ``negatives_R`` are weights by distinct prediction, in ascending order.
    """
    below_R = np.cumsum(negatives_R) - negatives_R / 2
    return float(np.dot(positives_R, below_R))


def concordance_by_group(positives_R: Floats, negatives_R: Floats, starts_G: Ints) -> Floats:
    """``concordance`` within each group."""
    below_R = cumulate(negatives_R, starts_G) - negatives_R / 2
    return np.asarray(np.add.reduceat(positives_R * below_R, starts_G), dtype=np.float64)


def constant_counts(counts_N: Floats, starts_G: Ints) -> Floats | None:
    """The count of each group, or ``None`` if rows of one group differ in count."""
    counts_G = counts_N[starts_G]
    repeated_N = np.repeat(counts_G, sizes_of(starts_G, len(counts_N)))
    return counts_G if np.array_equal(repeated_N, counts_N) else None


def weighted_mean(values_G: Floats, weights_G: Floats) -> float | None:
    """The mean over groups, or ``None`` if they weigh nothing."""
    total = float(weights_G.sum())
    return float(np.dot(values_G, weights_G)) / total if total > 0 else None
