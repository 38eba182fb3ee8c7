"""Duration tasks: Huber loss on the standardised log(1 + seconds)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from polyrank.data.layout import TargetStats
from polyrank.heads._censoring import one_sided
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, at_least_float32
from polyrank.schema import Duration


class DurationHead(Head):
    """Predicts exp(mean + std · logit) - 1, held within [0, limit].

    The value that minimises this loss lies near the median of the time, not at its mean: the ratio
    of predicted to observed seconds is below 1 on skewed times.
    """

    def __init__(self, task: Duration, stats: TargetStats) -> None:
        self._delta = task.delta
        self._seconds = task.seconds_per_unit
        self._mean, self._std = stats.mean, stats.std
        self._top = math.log1p(task.limit)

    def initial_logits(self) -> Tensor:
        """0: the training mean of log(1 + seconds)."""
        return torch.zeros(1)

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Half the square within ``delta`` standard deviations, linear beyond.

        Of a label that is a lower bound, only where the prediction is below it.
        """
        log_B = torch.log1p(labels_B.double() * self._seconds)
        logit_B = at_least_float32(logits_BL[:, 0])
        target_B = ((log_B - self._mean) / self._std).to(logit_B.dtype)
        loss_B = F.huber_loss(logit_B, target_B, reduction="none", delta=self._delta)
        return one_sided(loss_B, logit_B, target_B, extras)

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Time in the label's unit."""
        log_B = self._mean + self._std * logits_BL[:, 0].double()
        return torch.expm1(log_B.clamp(0.0, self._top)) / self._seconds


class Log1p(HeadConfig):
    """Huber on the standardised log(1 + seconds): the default of durations.

    A label that is a lower bound counts only where the prediction is below it. This one-sided loss
    is ours; it takes away the pull down to the bound, but estimates no law beyond it: where many
    labels are bounds, predictions stay low, and ``log_normal``, ``tpm`` or ``cread`` serve better.
    """

    kind: Literal["log1p"] = "log1p"
    suits: ClassVar[tuple[str, ...]] = ("duration",)

    def build(self, task: Duration, stats: TargetStats) -> DurationHead:
        """The head."""
        return DurationHead(task, stats)
