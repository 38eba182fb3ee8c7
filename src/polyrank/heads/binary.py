"""Binary tasks: sigmoid cross-entropy on the logit."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from polyrank.data.layout import TargetStats
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, at_least_float32
from polyrank.schema import Binary


class BinaryHead(Head):
    """Cross-entropy; predicts P(label = 1) in the task's sample space.

    Where negatives were kept at rate r, the prediction is σ(logit + log r): exact in odds
    (He et al., ADKDD 2014, section 6.3, q = p / (p + (1 - p) / r)).
    """

    def __init__(self, task: Binary, stats: TargetStats) -> None:
        self._log_keep_rate = math.log(task.keep_rate)
        self._rate = min(max(stats.mean, 1e-6), 1 - 1e-6) if stats.count else 0.5

    def initial_logits(self) -> Tensor:
        """The log odds of the training rate, kept within 1e-6 of 0 and 1."""
        return torch.tensor([math.log(self._rate / (1 - self._rate))])

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """log(1 + exp(-z)) for label 1, log(1 + exp(z)) for label 0."""
        logit_B = at_least_float32(logits_BL[:, 0])
        return F.binary_cross_entropy_with_logits(
            logit_B, labels_B.to(logit_B.dtype), reduction="none"
        )

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Probabilities; float64, since a float32 sigmoid ties logits beyond 10."""
        return torch.sigmoid(logits_BL[:, 0].double() + self._log_keep_rate)


class CrossEntropy(HeadConfig):
    """Sigmoid cross-entropy: the default of binary tasks."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    suits: ClassVar[tuple[str, ...]] = ("binary",)

    def build(self, task: Binary, stats: TargetStats) -> BinaryHead:
        """The head."""
        return BinaryHead(task, stats)
