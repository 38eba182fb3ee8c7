"""Regression tasks: zero-inflated log-normal, for a value that is mostly 0 and else long-tailed."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from polyrank.data.layout import TargetStats
from polyrank.heads._gaussian import logit_of, negative_log_likelihood, sigma_of
from polyrank.heads.base import (
    NO_EXTRAS,
    Extras,
    Head,
    HeadConfig,
    at_least_float32,
    require_no_negative_label,
)
from polyrank.schema import Regression

_FAR = 30.0
"""Greatest log of a predicted value over the training mean: a factor of 1e13."""


class ZILNHead(Head):
    """Logits of P(label > 0), and of mean and spread of log(label / scale) where it is above 0.

    Wang, Liu and Miao, "A deep probabilistic model for customer lifetime value prediction",
    arXiv:1912.07753, 2019. Predicts p · exp(μ + σ²/2) · scale, at most the task's ``upper``; scale
    is the training mean. We depart in that σ has a least value of 0.05.
    """

    num_logits = 3

    def __init__(self, task: Regression, stats: TargetStats) -> None:
        self._scale = max(stats.mean, 1e-6 * stats.std)
        self._upper = math.inf if task.upper is None else task.upper
        squares = 1 + (stats.std / self._scale) ** 2
        self._rate = min(max(math.e / squares, 0.01), 0.9)

    def initial_logits(self) -> Tensor:
        """The training mean, with σ = 1 and p such that the label's second moment agrees, too.

        p is kept within 0.01 and 0.9.
        """
        rate = self._rate
        return torch.tensor([math.log(rate / (1 - rate)), -math.log(rate) - 0.5, logit_of(1.0)])

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Cross-entropy of label > 0, plus where it is the log-normal's negative log-likelihood.

        The latter without what the logits do not change, and so that it is at least 0.
        """
        logit_B, mean_B, spread_B = at_least_float32(logits_BL).unbind(1)
        above_B = labels_B > 0
        value_B = torch.where(above_B, labels_B.double(), self._scale) / self._scale
        is_above_B = F.binary_cross_entropy_with_logits(
            logit_B, above_B.to(logit_B.dtype), reduction="none"
        )
        value_given_above_B = negative_log_likelihood(
            torch.log(value_B).to(logit_B.dtype), mean_B, sigma_of(spread_B)
        )
        return is_above_B + torch.where(above_B, value_given_above_B, 0.0)

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """In the label's unit, at least 0."""
        above_B, mean_B, spread_B = logits_BL.double().unbind(1)
        log_B = F.logsigmoid(above_B) + mean_B + 0.5 * sigma_of(spread_B) ** 2
        return (self._scale * torch.exp(log_B.clamp(max=_FAR))).clamp(max=self._upper)


class ZILN(HeadConfig):
    """Zero-inflated log-normal (Wang et al., 2019), on a task with ``lower: 0``: spend, revenue.

    Predicts the mean, if labels above 0 are log-normal given the row; where they are not, it is off
    on average. ``tweedie`` needs no such law.
    """

    kind: Literal["ziln"] = "ziln"
    suits: ClassVar[tuple[str, ...]] = ("regression",)

    def check(self, task: Regression) -> None:
        """Refuse labels below 0."""
        require_no_negative_label(task, self.kind)

    def build(self, task: Regression, stats: TargetStats) -> ZILNHead:
        """The head."""
        return ZILNHead(task, stats)
