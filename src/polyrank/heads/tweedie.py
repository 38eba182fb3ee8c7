"""Regression tasks: Tweedie, for labels of at least 0 with many zeros and a long tail."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from polyrank.data.layout import TargetStats
from polyrank.heads.base import (
    NO_EXTRAS,
    Extras,
    Head,
    HeadConfig,
    at_least_float32,
    require_no_negative_label,
)
from polyrank.schema import Regression

_FAR = 20.0
"""Greatest exponent: predictions are within a factor of 5e8 of the training mean."""


class TweedieHead(Head):
    """Predicts scale · exp(logit), scale being the training mean; at most the task's ``upper``.

    The value that minimises the loss is the label's mean, whatever the power is and whether or not
    the label follows a Tweedie law (the score equation is Σ (label - prediction) = 0).
    """

    def __init__(self, task: Regression, stats: TargetStats, power: float) -> None:
        self._power = power
        self._scale = max(stats.mean, 1e-6 * stats.std)
        self._upper = math.inf if task.upper is None else task.upper

    def initial_logits(self) -> Tensor:
        """0: the training mean, or 1e-6 standard deviations where that is less."""
        return torch.zeros(1)

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """y μ^(1-p) / (p-1) + μ^(2-p) / (2-p), of label and prediction over the scale.

        It is the negative log-likelihood without what the logit does not change, which is half the
        unit deviance without the same (Jørgensen, J. R. Stat. Soc. B 49, 1987). An exponential goes
        on along its tangent from an exponent of 20, so that it never overflows.
        """
        logit_B = at_least_float32(logits_BL[:, 0])
        label_B = (labels_B.double() / self._scale).to(logit_B.dtype)
        falling, rising = self._power - 1, 2 - self._power
        return label_B * _exp(-falling * logit_B) / falling + _exp(rising * logit_B) / rising

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """In the label's unit, at least 0."""
        mean_B = self._scale * torch.exp(logits_BL[:, 0].double().clamp(-_FAR, _FAR))
        return mean_B.clamp(max=self._upper)


def _exp(exponent_B: Tensor) -> Tensor:
    near_B = exponent_B.clamp(max=_FAR)
    return torch.exp(near_B) * (1 + exponent_B - near_B)


class Tweedie(HeadConfig):
    """Tweedie with a log link, on a task with ``lower: 0``: sums of rare amounts, most of them 0.

    Predicts the mean. Rows of a large mean weigh less than under a squared error, the less the
    higher the power.
    """

    kind: Literal["tweedie"] = "tweedie"
    suits: ClassVar[tuple[str, ...]] = ("regression",)
    power: Annotated[float, Field(gt=1, lt=2)] = 1.5
    """The variance grows as mean ** power: near 1 as of a Poisson count, near 2 as of a gamma."""

    def check(self, task: Regression) -> None:
        """Refuse labels below 0."""
        require_no_negative_label(task, self.kind)

    def build(self, task: Regression, stats: TargetStats) -> TweedieHead:
        """The head."""
        return TweedieHead(task, stats, self.power)
