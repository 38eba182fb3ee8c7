"""Multiclass tasks: softmax over the classes.

Shapes: B rows, K classes, one logit each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from polyrank.data.layout import TargetStats
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, at_least_float32
from polyrank.schema import Multiclass

_LEAST = 1e-6


class SoftmaxHead(Head):
    """P(class k) = exp(z_k) / Σ exp(z); predicts the expected worth, Σ P(class k) · worth_k.

    The prediction rises with the logit of a class worth more than it and falls with that of one
    worth less; only differences of logits matter.
    """

    def __init__(self, task: Multiclass, stats: TargetStats) -> None:
        self.names, self.values = task.names, task.values
        self.num_logits = len(task.names)
        self._shares = known_shares(stats, len(task.names))

    def initial_logits(self) -> Tensor:
        """The logs of the training shares, kept at least 1e-6."""
        return torch.tensor([math.log(share) for share in self._shares])

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """-log P(the label's class); labels are places among ``names``."""
        place_B = labels_B.long().clamp(0, self.num_logits - 1)
        return F.cross_entropy(at_least_float32(logits_BL), place_B, reduction="none")

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """The expected worth, from the least to the greatest of a class."""
        worth_K = torch.tensor(self.values, dtype=torch.float64, device=logits_BL.device)
        worth_B = (self._probs(logits_BL) * worth_K).sum(1)
        return worth_B.clamp(self.values[0], self.values[-1])

    def further(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Mapping[str, Tensor]:
        """The probability of each class: ``prob_like`` of the class ``like``."""
        columns = self._probs(logits_BL).unbind(1)
        return dict(zip([f"prob_{name}" for name in self.names], columns, strict=True))

    def _probs(self, logits_BL: Tensor) -> Tensor:
        return torch.softmax(logits_BL.double(), dim=1)


def known_shares(stats: TargetStats, count: int) -> list[float]:
    """How often each level or class occurred, kept at least 1e-6; alike where nothing is known."""
    shares = [max(share, _LEAST) for share in stats.shares] or [1.0] * count
    total = math.fsum(shares)
    return [share / total for share in shares]


class Softmax(HeadConfig):
    """Softmax cross-entropy: the default of multiclass tasks. Predicts the expected worth."""

    kind: Literal["softmax"] = "softmax"
    suits: ClassVar[tuple[str, ...]] = ("multiclass",)

    def build(self, task: Multiclass, stats: TargetStats) -> SoftmaxHead:
        """The head."""
        return SoftmaxHead(task, stats)
