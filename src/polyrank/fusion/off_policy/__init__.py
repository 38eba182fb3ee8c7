"""What another policy would have earned, from a log whose decisions have a known chance.

>>> import numpy as np
>>> from polyrank.fusion.off_policy import SNIPS, Logged
>>> rng = np.random.default_rng(0)
>>> shown_N = rng.random(20_000) < 0.5  # one of two videos, by a coin
>>> reward_N = (rng.random(20_000) < np.where(shown_N, 0.3, 0.1)).astype(float)
>>> mostly_N = np.where(shown_N, 0.9, 0.1)  # the new policy shows the first nine times in ten
>>> logged = Logged(reward_N, np.full(20_000, 0.5), mostly_N)
>>> estimate = SNIPS().estimate(logged)
>>> f"{estimate.value:.2f} ({estimate.lower:.2f} to {estimate.upper:.2f})"  # truth: 0.28
'0.28 (0.27 to 0.29)'
>>> round(estimate.effective_rows / estimate.rows, 2)
0.61

Whole lists, drawn by score and noise, tell of other rankings:

>>> from polyrank.fusion.off_policy import PlackettLuce, RankedLog
>>> lists = RankedLog(
...     request_N=np.array([7, 7, 7]),
...     place_N=np.array([1.0, 2.0, 3.0]),
...     propensity_N=np.array([1 / 3, 1 / 2, 1]),  # in uniformly random order
...     reward_N=np.array([1.0, 0.0, 0.0]),
...     places=2,
... )
>>> warm = lists.under(np.array([2.0, 1.0, 0.0]), PlackettLuce(temperature=1.0))
>>> warm.importance_N.round(2).tolist()  # three times exp(2) / (exp(2) + exp(1) + 1), ...
[2.0, 2.92]

A log gets such chances where each request's weights are drawn:

>>> from polyrank.fusion.off_policy import WeightJitter
>>> centre = {"click": 1.0, "like": 20.0}
>>> drawn = WeightJitter(scale=0.15).draw(centre, request="r-17")
>>> {name: round(weight, 3) for name, weight in drawn.items()}
{'click': 0.938, 'like': 18.66}
>>> float(WeightJitter(scale=0.15).density(centre, drawn).round(3))
0.556
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from polyrank.fusion.off_policy.base import Difference, Estimate, Estimator
from polyrank.fusion.off_policy.clipped_ips import ClippedIPS
from polyrank.fusion.off_policy.doubly_robust import DoublyRobust
from polyrank.fusion.off_policy.ips import IPS
from polyrank.fusion.off_policy.jitter import WeightJitter
from polyrank.fusion.off_policy.lists import Lists, PlackettLuce, is_whole
from polyrank.fusion.off_policy.logged import Logged
from polyrank.fusion.off_policy.mean import Mean, kish
from polyrank.fusion.off_policy.ranked import Over, RankedLog
from polyrank.fusion.off_policy.snips import SNIPS

AnyEstimator = Annotated[ClippedIPS | DoublyRobust | IPS | SNIPS, Field(discriminator="kind")]

ESTIMATORS: Mapping[str, type[Estimator]] = MappingProxyType(
    {
        "clipped_ips": ClippedIPS,
        "dr": DoublyRobust,
        "ips": IPS,
        "snips": SNIPS,
    }
)

__all__ = [
    "ESTIMATORS",
    "IPS",
    "SNIPS",
    "AnyEstimator",
    "ClippedIPS",
    "Difference",
    "DoublyRobust",
    "Estimate",
    "Estimator",
    "Lists",
    "Logged",
    "Mean",
    "Over",
    "PlackettLuce",
    "RankedLog",
    "WeightJitter",
    "is_whole",
    "kish",
]
