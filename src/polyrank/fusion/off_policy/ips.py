"""Inverse propensity scoring."""

from __future__ import annotations

from typing import Literal

from polyrank.fusion.off_policy.base import Estimator
from polyrank.fusion.off_policy.logged import Logged
from polyrank.fusion.off_policy.mean import Mean


class IPS(Estimator):
    """mean of importance x reward (Horvitz and Thompson, 1952).

    Unbiased where propensities are right and cover the new policy. A constant added to all rewards
    changes it by more or less than the constant, and its noise grows with the level of rewards.
    """

    kind: Literal["ips"] = "ips"

    def _mean(self, logged: Logged) -> Mean:
        return Mean.of(logged, logged.importance_N * logged.reward_N)
