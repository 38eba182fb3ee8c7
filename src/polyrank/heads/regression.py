"""Regression tasks: Huber loss on the standardised label."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from polyrank.data.layout import TargetStats
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, at_least_float32
from polyrank.schema import Regression


class RegressionHead(Head):
    """Huber (1964) on (label - mean) / std of the training split; predicts in the label's unit.

    The value that minimises this loss lies between the label's median and its mean.
    """

    def __init__(self, task: Regression, stats: TargetStats) -> None:
        self._delta = task.delta
        self._mean, self._std = stats.mean, stats.std

    def initial_logits(self) -> Tensor:
        """0: the training mean."""
        return torch.zeros(1)

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Half the square within ``delta`` standard deviations, linear beyond."""
        logit_B = at_least_float32(logits_BL[:, 0])
        target_B = ((labels_B.double() - self._mean) / self._std).to(logit_B.dtype)
        return F.huber_loss(logit_B, target_B, reduction="none", delta=self._delta)

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """mean + std · logit."""
        return self._mean + self._std * logits_BL[:, 0].double()


class Huber(HeadConfig):
    """Huber on the standardised label: the default of regressions."""

    kind: Literal["huber"] = "huber"
    suits: ClassVar[tuple[str, ...]] = ("regression",)

    def build(self, task: Regression, stats: TargetStats) -> RegressionHead:
        """The head."""
        return RegressionHead(task, stats)
