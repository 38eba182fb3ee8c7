"""Regression tasks: several quantiles at once, which never cross.

Shapes: B rows, Q levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from statistics import NormalDist
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from polyrank.data.layout import TargetStats
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, at_least_float32
from polyrank.schema import Regression

Level = Annotated[float, Field(gt=0, lt=1)]


class QuantileHead(Head):
    """The lowest quantile is the first logit; each next adds log(1 + exp(its logit)).

    In standard deviations of the training label, about its mean. The values that minimise the loss
    are the quantiles (Koenker and Bassett, Econometrica 46, 1978).
    """

    def __init__(self, stats: TargetStats, levels: tuple[float, ...], predicted: float) -> None:
        self.levels = levels
        self.num_logits = len(levels)
        self._place = levels.index(predicted)
        self._mean, self._std = stats.mean, stats.std

    def initial_logits(self) -> Tensor:
        """The quantiles of a normal law with the training mean and standard deviation."""
        at = [NormalDist().inv_cdf(level) for level in self.levels]
        steps = [high - low for low, high in pairwise(at)]
        return torch.tensor([at[0], *(math.log(math.expm1(step)) for step in steps)])

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Pinball: level · e above the quantile, (level - 1) · e below; averaged over levels."""
        at_BQ = _ascending(at_least_float32(logits_BL))
        target_B = ((labels_B.double() - self._mean) / self._std).to(at_BQ.dtype)
        error_BQ = target_B[:, None] - at_BQ
        level_Q = torch.tensor(self.levels, dtype=at_BQ.dtype, device=at_BQ.device)
        return torch.maximum(level_Q * error_BQ, (level_Q - 1) * error_BQ).mean(1)

    def quantiles(self, logits_BL: Tensor) -> Tensor:
        """(B, Q) float64 in the label's unit, never falling along the levels."""
        return self._mean + self._std * _ascending(logits_BL.double())

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """The quantile at the level named."""
        return self.quantiles(logits_BL)[:, self._place]

    def further(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Mapping[str, Tensor]:
        """All that are learned, if more than one."""
        names = [f"p{100 * level:.10g}" for level in self.levels]
        found = dict(zip(names, self.quantiles(logits_BL).unbind(1), strict=True))
        return found if len(found) > 1 else {}


def _ascending(logits_BQ: Tensor) -> Tensor:
    steps_BQ = torch.cat([logits_BQ[:, :1], F.softplus(logits_BQ[:, 1:])], dim=1)
    return steps_BQ.cumsum(1)


class Quantile(HeadConfig):
    """Quantiles by pinball loss on the standardised label, monotone by construction.

    Predicts the quantile at ``predicted``, by default the median; it is no expected value.
    """

    kind: Literal["quantile"] = "quantile"
    suits: ClassVar[tuple[str, ...]] = ("regression",)
    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = (0.1, 0.5, 0.9)
    """Which quantiles are learned, between 0 and 1, rising."""
    predicted: Level = 0.5
    """The one of ``levels`` that is the task's prediction."""

    @model_validator(mode="after")
    def _levels_rise(self) -> Quantile:
        if any(low >= high for low, high in pairwise(self.levels)):
            raise ValueError(
                f"`levels` must rise, got {list(self.levels)}; sort them and name each once"
            )
        if self.predicted not in self.levels:
            raise ValueError(
                f"`predicted` must be one of `levels`, got {self.predicted}, and the levels are "
                f"{list(self.levels)}; add it, or predict one of them"
            )
        return self

    def build(self, task: Regression, stats: TargetStats) -> QuantileHead:
        """The head."""
        return QuantileHead(stats, self.levels, self.predicted)
