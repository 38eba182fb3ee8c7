"""Duration tasks: a log-normal time, whose prediction is its mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import ClassVar, Literal

import torch
from torch import Tensor

from polyrank.data.layout import TargetStats
from polyrank.heads._censoring import bounds
from polyrank.heads._gaussian import (
    logit_of,
    negative_log_likelihood,
    negative_log_survival,
    sigma_of,
)
from polyrank.heads._law import LEVELS
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, at_least_float32
from polyrank.schema import Duration


class LogNormalHead(Head):
    """Logits of mean and spread of log(1 + seconds), standardised by the training split.

    Predicts exp(μ + σ²/2) - 1, held within [0, limit]: the mean of the time, if 1 + seconds is
    log-normal given the row (Aitchison and Brown, The Lognormal Distribution, 1957).
    """

    num_logits = 2

    def __init__(self, task: Duration, stats: TargetStats) -> None:
        self._seconds = task.seconds_per_unit
        self._mean, self._std = stats.mean, stats.std
        self._top = math.log1p(task.limit)

    def initial_logits(self) -> Tensor:
        """The moments of log(1 + seconds) in the training split."""
        return torch.tensor([0.0, logit_of(1.0)])

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Negative log-likelihood, without what the logits do not change, at least 0.

        Of a label that is a lower bound, -log P(at least that).
        """
        mean_B, spread_B = at_least_float32(logits_BL).unbind(1)
        log_B = torch.log1p(labels_B.double() * self._seconds)
        target_B = ((log_B - self._mean) / self._std).to(mean_B.dtype)
        sigma_B = sigma_of(spread_B)
        loss_B = negative_log_likelihood(target_B, mean_B, sigma_B)
        bound_B = bounds(extras, labels_B)
        if bound_B is None:
            return loss_B
        return torch.where(bound_B, negative_log_survival(target_B, mean_B, sigma_B), loss_B)

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Mean time in the label's unit."""
        sigma_B = self._std * sigma_of(logits_BL[:, 1].double())
        return self._time(self._log_median(logits_BL) + 0.5 * sigma_B**2)

    def median(self, logits_BL: Tensor) -> Tensor:
        """(B,) float64 median time in the label's unit, at most the mean."""
        return self._time(self._log_median(logits_BL))

    def further(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Mapping[str, Tensor]:
        """The quantiles of the log-normal law, held within [0, limit]."""
        log_B, sigma_B = self._log_median(logits_BL), self._std * sigma_of(logits_BL[:, 1].double())
        return {
            name: self._time(log_B + NormalDist().inv_cdf(level) * sigma_B)
            for name, level in LEVELS.items()
        }

    def _log_median(self, logits_BL: Tensor) -> Tensor:
        return self._mean + self._std * logits_BL[:, 0].double()

    def _time(self, log_B: Tensor) -> Tensor:
        return torch.expm1(log_B.clamp(0.0, self._top)) / self._seconds


class LogNormal(HeadConfig):
    """A log-normal time with a spread of its own a row, learned by maximum likelihood.

    Predicts the mean time, where ``log1p`` predicts one near the median: choose it where expected
    time is summed or ranked by. Right as far as 1 + seconds is log-normal given the row; where it
    is not, which the metric ``ratio`` shows, choose ``wlr``. Further predicts p10, p50 and p90.

    A label that is a lower bound counts by its chance to be reached: the likelihood, if it was cut
    independently of the time, given the row (Tobin, Econometrica 26, 1958).
    """

    kind: Literal["log_normal"] = "log_normal"
    suits: ClassVar[tuple[str, ...]] = ("duration",)

    def build(self, task: Duration, stats: TargetStats) -> LogNormalHead:
        """The head."""
        return LogNormalHead(task, stats)
