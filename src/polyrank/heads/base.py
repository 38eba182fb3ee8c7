"""The seam of heads: a tower's logits against a label, and as a prediction in the user's unit.

Shapes: B rows, L logits a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Head(ABC):
    """Loss and prediction of one task. It holds constants only, nothing that learns."""

    num_logits: int = 1

    @abstractmethod
    def initial_logits(self) -> Tensor:
        """(L,) float32: the logits that predict the training mean; the tower's first bias."""

    @abstractmethod
    def loss(self, logits_BL: Tensor, labels_B: Tensor) -> Tensor:
        """(B,) loss of each row, finite for finite logits and valid labels, in fp32 or wider.

        Args:
            logits_BL: The tower's output.
            labels_B: Labels in the user's unit, float64 where float32 would lose of them.
        """

    @abstractmethod
    def predict(self, logits_BL: Tensor) -> Tensor:
        """(B,) float64 predictions in the label's unit, never decreasing in the logit."""


def masked_mean(
    loss_B: Tensor, observed_B: Tensor, weight_B: Tensor, denominator: Tensor
) -> Tensor:
    """Σ loss · weight over observed rows, divided by ``denominator``; 0 with zero gradient if none.

    Args:
        loss_B: Loss of each row; values at unobserved rows are ignored.
        observed_B: bool.
        weight_B: At least 0.
        denominator: Scalar: the sum of the observed rows' weights over all processes.
    """
    kept_B = torch.where(observed_B, loss_B, 0.0) * weight_B
    return kept_B.sum() / torch.where(denominator > 0, denominator, 1.0)
