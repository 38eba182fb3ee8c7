"""Ranking with known chances: Plackett-Luce through Gumbel noise (Yellott, 1977).

R requests, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Ranking:
    """Ranked lists."""

    order_RK: npt.NDArray[np.int64]
    """Candidate at each position, best first."""
    propensity_RK: npt.NDArray[np.float64]
    """Probability of that candidate at that position given those above it, in (0, 1]; the product
    over a request is the probability of its whole list, and the last is always 1."""

    @property
    def position_RK(self) -> npt.NDArray[np.int64]:
        """Position of each candidate, from 1: the inverse of ``order_RK``."""
        return np.asarray(np.argsort(self.order_RK, axis=1) + 1)


def rank_candidates(
    score_RK: npt.NDArray[np.float64], noise: float, gumbel_RK: npt.NDArray[np.float64]
) -> Ranking:
    """Rank by ``score / noise + gumbel``; by score alone where ``noise`` is 0, ties as they stand.

    Args:
        score_RK: Higher is better.
        noise: Gumbel scale in the unit of the scores, at least 0.
        gumbel_RK: Standard Gumbel draws.
    """
    if noise == 0:
        order_RK = np.argsort(-score_RK, axis=1, kind="stable")
        return Ranking(order_RK, np.ones(score_RK.shape))
    utility_RK = score_RK / noise
    order_RK = np.argsort(-(utility_RK + gumbel_RK), axis=1, kind="stable")
    ranked_RK = np.take_along_axis(utility_RK, order_RK, axis=1)
    remaining_RK = np.logaddexp.accumulate(ranked_RK[:, ::-1], axis=1)[:, ::-1]
    return Ranking(order_RK, np.exp(ranked_RK - remaining_RK))
