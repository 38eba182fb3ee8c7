"""Duration tasks: weighted logistic regression, whose odds are read as expected time."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from polyrank.data.layout import TargetStats
from polyrank.heads._censoring import require_values
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, at_least_float32
from polyrank.schema import Duration


class WLRHead(Head):
    """Predicts scale · exp(logit), within [0, limit] (Covington et al., RecSys 2016, section 4.2).

    Scale is a typical time of the training split; it keeps weights near 1 and changes no optimum.
    """

    def __init__(self, task: Duration, stats: TargetStats, *, every: bool) -> None:
        self._every = every
        self._seconds = task.seconds_per_unit
        typical = math.expm1(min(stats.mean + 0.5 * stats.std**2, math.log1p(task.limit)))
        self._scale = max(typical, 1e-3)
        self._top = math.log(task.limit / self._scale)

    def initial_logits(self) -> Tensor:
        """0: the training mean, if times were log-normal."""
        return torch.zeros(1)

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Time over scale · log(1 + exp(-z)), and log(1 + exp(z)) for each negative of weight 1."""
        logit_B = at_least_float32(logits_BL[:, 0])
        time_B = (labels_B.double() * (self._seconds / self._scale)).to(logit_B.dtype)
        negative_B = torch.ones_like(time_B) if self._every else (time_B == 0).to(time_B.dtype)
        return time_B * F.softplus(-logit_B) + negative_B * F.softplus(logit_B)

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Time in the label's unit."""
        time_B = torch.exp(logits_BL[:, 0].double().clamp(max=self._top))
        return self._scale / self._seconds * time_B


class WLR(HeadConfig):
    """Weighted logistic regression (Covington et al., RecSys 2016): odds read as expected time.

    Each row is a positive weighted by its time. With ``negatives: every`` it is also a negative of
    weight 1: the odds that minimise the loss are E[T], whatever the law of the times. This is ours.

    With ``negatives: zeros``, the paper's, only a time of 0 is a negative. The odds are then the
    sum of times over the number of zeros, E[T] / P(T = 0): close to E[T] only where nearly every
    row is a 0, as when few impressions are clicked. On a task whose rows mostly have a time, such
    as one within clicks, they grow without bound.
    """

    kind: Literal["wlr"] = "wlr"
    suits: ClassVar[tuple[str, ...]] = ("duration",)
    negatives: Literal["every", "zeros"] = "every"
    """The rows that count as a negative of weight 1: all, or those of time 0, as in the paper."""

    def check(self, task: Duration) -> None:
        """Refuse labels that may be lower bounds."""
        require_values(task, self.kind)

    def build(self, task: Duration, stats: TargetStats) -> WLRHead:
        """The head."""
        return WLRHead(task, stats, every=self.negatives == "every")
