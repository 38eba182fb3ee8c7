"""Inverse propensity scoring with importances cut at a cap.

Shapes: N rows.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from polyrank.errors import ConfigError
from polyrank.fusion.off_policy.base import Estimator
from polyrank.fusion.off_policy.logged import WHERE, Logged
from polyrank.fusion.off_policy.mean import Mean

Floats = NDArray[np.float64]


class ClippedIPS(Estimator):
    """mean of min(importance, cap) x reward (Ionides, 2008; Bottou et al., JMLR 2013, section 4).

    Less noise for a bias: with positive rewards it is too low, since what is cut is lost. As
    importances average 1, the share that is lost is 1 - mean of min(importance, cap), and its
    rewards lie somewhere between the lowest and the highest reward. The interval counts the lost
    share as all lowest at its lower end and as all highest at its upper end, so that it covers the
    true value, mostly more often than it says; where nothing is cut it is that of ``IPS``. Where
    bias is larger than noise the value stands near one of its ends.
    """

    kind: Literal["clipped_ips"] = "clipped_ips"
    cap: Annotated[float, Field(ge=1)] = 10.0
    """The largest importance; its optimum grows with the root of the number of rows."""
    reward_range: tuple[float, float] | None = None
    """The lowest and the highest reward there can be; null: those logged."""

    def _mean(self, logged: Logged) -> Mean:
        return Mean.of(logged, self._importance(logged) * logged.reward_N)

    def _importance(self, logged: Logged) -> Floats:
        return np.minimum(logged.importance_N, self.cap)

    def _ends(self, logged: Logged) -> tuple[Mean, Mean]:
        """The value if all that is cut earned the lowest, and the highest, reward."""
        if not (logged.importance_N > self.cap).any():
            return super()._ends(logged)
        importance_N = self._importance(logged)
        lowest, highest = (
            Mean.of(logged, importance_N * (logged.reward_N - reward) + reward)
            for reward in self._range(logged)
        )
        return lowest, highest

    def _range(self, logged: Logged) -> tuple[float, float]:
        seen = float(logged.reward_N.min()), float(logged.reward_N.max())
        if self.reward_range is None:
            return seen
        lowest, highest = self.reward_range
        if not lowest <= seen[0] <= seen[1] <= highest:
            raise ConfigError(
                f"must hold every reward, got {lowest:g} to {highest:g} where rewards are "
                f"{seen[0]:g} to {seen[1]:g}",
                where=f"{WHERE}: clipped_ips: reward_range",
                hint="Widen it, or leave it out.",
            )
        return self.reward_range
