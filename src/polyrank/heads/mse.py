"""Regression tasks: squared error on the standardised label."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from polyrank.data.layout import TargetStats
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, at_least_float32
from polyrank.schema import Regression


class MSEHead(Head):
    """Predicts mean + std · logit; the value that minimises the loss is the label's mean."""

    def __init__(self, stats: TargetStats) -> None:
        self._mean, self._std = stats.mean, stats.std

    def initial_logits(self) -> Tensor:
        """0: the training mean."""
        return torch.zeros(1)

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Half the square; finite up to 1e19 standard deviations."""
        logit_B = at_least_float32(logits_BL[:, 0])
        target_B = ((labels_B.double() - self._mean) / self._std).to(logit_B.dtype)
        return 0.5 * (logit_B - target_B) ** 2

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """mean + std · logit."""
        return self._mean + self._std * logits_BL[:, 0].double()


class MSE(HeadConfig):
    """Squared error on the standardised label. Predicts the mean; one far label weighs much."""

    kind: Literal["mse"] = "mse"
    suits: ClassVar[tuple[str, ...]] = ("regression",)

    def build(self, task: Regression, stats: TargetStats) -> MSEHead:
        """The head."""
        return MSEHead(stats)
