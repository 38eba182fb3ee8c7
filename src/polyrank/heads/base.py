"""The seam of heads: a tower's logits against a label, and as a prediction in the user's unit.

Shapes: B rows, L logits a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from polyrank.data.layout import TargetStats
from polyrank.schema import Declared

Extras = Mapping[str, Tensor]
"""(B,) float32 by name: what a head reads of a row beside logits and label."""
NO_EXTRAS: Extras = MappingProxyType({})


class Head(ABC):
    """Loss and prediction of one task. It holds constants only, nothing that learns."""

    num_logits: int = 1

    @abstractmethod
    def initial_logits(self) -> Tensor:
        """(L,) float32: the logits that predict the training mean; the tower's first bias."""

    @abstractmethod
    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """(B,) loss of each row, finite for finite logits and valid labels, in fp32 or wider.

        Args:
            logits_BL: The tower's output.
            labels_B: Labels in the user's unit, float64 where float32 would lose of them.
            extras: What else is known of the rows.
        """

    @abstractmethod
    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """(B,) float64 predictions in the label's unit, never decreasing in a single logit."""


class HeadConfig(Declared, ABC):
    """The configuration of a head, and its builder."""

    kind: str
    suits: ClassVar[tuple[str, ...]]
    """The kinds of task that it can stand on."""

    @abstractmethod
    def build(self, task: Any, stats: TargetStats) -> Head:
        """The head of ``task``, given what the training split shows of its label."""


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
