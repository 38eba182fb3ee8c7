"""Duration tasks: a classifier for each threshold, and the time restored from them.

Shapes: B rows, M thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from polyrank.data.layout import TargetStats
from polyrank.heads._censoring import bounds
from polyrank.heads._law import Buckets, Law
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, at_least_float32
from polyrank.schema import Duration

_DELTA = 3.0
"""Where Huber turns from square to linear, in standard deviations of the training label."""


class CREADHead(Head):
    """A logit for each threshold, that of P(label > threshold). See ``CREAD``."""

    def __init__(self, task: Duration, stats: TargetStats, config: CREAD) -> None:
        self._config = config
        self._seconds = task.seconds_per_unit
        self._law = Law(stats.quantiles)
        self.thresholds = _thresholds(self._law, config)
        """In seconds, rising; fewer than asked for where labels are tied."""
        inner = [self._law.share_up_to(threshold) for threshold in self.thresholds]
        self._buckets = Buckets(self._law, [0.0, *inner, 1.0])
        self._spread = self._law.spread
        self.num_logits = len(self.thresholds)

    def initial_logits(self) -> Tensor:
        """The shares of training labels beyond the thresholds, kept within 1e-6 of 0 and 1."""
        kept = [min(max(share, 1e-6), 1 - 1e-6) for share in self._buckets.edges[1:-1]]
        return torch.tensor([math.log((1 - share) / share) for share in kept])

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """The three terms of ``CREAD``; at least 0."""
        logit_BM = at_least_float32(logits_BL)
        beyond_BM, target_B = self._targets(logit_BM.detach(), labels_B, extras)
        classes_B = F.binary_cross_entropy_with_logits(logit_BM, beyond_BM, reduction="none").mean(
            1
        )
        chance_BM = torch.sigmoid(logit_BM)
        restored_B = self._buckets.mean(chance_BM) / self._spread
        error_B = F.huber_loss(restored_B, target_B, reduction="none", delta=_DELTA)
        rise_B = torch.relu(chance_BM.diff(dim=1)).sum(1) / self.num_logits
        return classes_B + self._config.error_weight * error_B + self._config.order_weight * rise_B

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Mean time in the label's unit, within that of the training labels."""
        return self._buckets.mean(torch.sigmoid(logits_BL.double())) / self._seconds

    def further(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Mapping[str, Tensor]:
        """Where the chances, made to fall by their running minimum, cross 0.9, 0.5 and 0.1."""
        found = self._buckets.quantiles(torch.sigmoid(logits_BL.double()))
        return {name: seconds_B / self._seconds for name, seconds_B in found.items()}

    def _targets(self, logit_BM: Tensor, labels_B: Tensor, extras: Extras) -> tuple[Tensor, Tensor]:
        """(B, M) chance that the label lies beyond each threshold, and (B,) the time over spread.

        Both are what was seen or, of a lower bound, what the head itself expects beyond it.
        """
        seconds_B = labels_B.double() * self._seconds
        # In float32, so that a label is not beyond the threshold that it is equal to.
        threshold_M = torch.tensor(self.thresholds, device=logit_BM.device)
        beyond_BM = (seconds_B.float()[:, None] > threshold_M).to(logit_BM.dtype)
        target_B = (seconds_B / self._spread).to(logit_BM.dtype)
        bound_B = bounds(extras, labels_B)
        if bound_B is None:
            return beyond_BM, target_B
        given_BM = self._given_at_least(seconds_B, logit_BM)
        expected_B = torch.maximum(self._buckets.mean(given_BM) / self._spread, target_B)
        return (
            torch.where(bound_B[:, None], given_BM, beyond_BM),
            torch.where(bound_B, expected_B, target_B),
        )

    def _given_at_least(self, seconds_B: Tensor, logit_BM: Tensor) -> Tensor:
        """(B, M) P(beyond each threshold | at least ``seconds_B``), by the logits as they stand."""
        rank_B = self._law.ranks(seconds_B)[0]
        edge_M = torch.tensor(self._buckets.edges, dtype=torch.float64, device=rank_B.device)
        log_BM = F.logsigmoid(logit_BM).cummin(1).values
        start_B1 = log_BM.new_zeros(len(log_BM), 1)
        ends_BM = torch.cat([start_B1, log_BM, start_B1 - math.inf], 1)
        place_B = torch.searchsorted(edge_M, rank_B, right=True).clamp(max=len(edge_M) - 1)
        low_B, high_B = edge_M[place_B - 1], edge_M[place_B]
        along_B1 = ((rank_B - low_B) / (high_B - low_B)).to(log_BM.dtype)[:, None]
        log_B1 = torch.logaddexp(
            ends_BM.gather(1, place_B[:, None] - 1) + torch.log1p(-along_B1),
            ends_BM.gather(1, place_B[:, None]) + along_B1.log(),
        )
        return (log_BM - log_B1).clamp(max=0.0).exp()  # 1 of the thresholds that it has passed.


def _thresholds(law: Law, config: CREAD) -> list[float]:
    """Where labels lie on both sides of it; at least one."""
    places = (place / (config.thresholds + 1) for place in range(1, config.thresholds + 1))
    curve = -math.expm1(-config.alpha)
    found = {law.time(-math.expm1(-config.alpha * place) / curve) for place in places}
    return sorted(each for each in found if each < law.largest) or [law.largest]


class CREAD(HeadConfig):
    """Classification and restoration with error-adaptive thresholds (Sun et al., AAAI 2024).

    Thresholds are training quantiles t_m = F⁻¹(γ(m / (M + 1))) with γ(z) = (1 - e^(-αz)) /
    (1 - e^(-α)): denser among long times than those of equal mass. φ_m = P(label > t_m) has a logit
    of its own.
    Predicts Σ φ_m · (v_m+1 - v_m), v_m being the mean training label between the thresholds m - 1
    and m; and p10, p50, p90. loss = cross-entropy of all φ_m + ``error_weight`` · Huber of the
    restored time, in standard deviations of the training label + ``order_weight`` · Σ max(φ_m+1 -
    φ_m, 0), the first and last over M. The weights' defaults are ours.

    We depart in that the paper's steps t_m - t_m-1 restore a time as the lower end of its bucket;
    means restore the mean. Thresholds that coincide, where labels are tied, are one.

    A label that is a lower bound counts as beyond all thresholds below it. A threshold above it
    takes as target the chance to be beyond it, given the bound, under the head as it stands, and
    the restored time is compared with the mean under the same (Efron's self-consistency, Fifth
    Berkeley Symposium, 1967). Leaving those classifiers out instead would keep more of the short
    times, and bias them.
    """

    kind: Literal["cread"] = "cread"
    suits: ClassVar[tuple[str, ...]] = ("duration",)
    thresholds: Annotated[int, Field(ge=1, le=512)] = 50
    """M, how many classifiers are learned."""
    alpha: PositiveFloat = 2.0
    """How much denser long times are cut; near 0 all buckets hold as many labels."""
    error_weight: NonNegativeFloat = 0.1
    """Of the restored time's error."""
    order_weight: NonNegativeFloat = 1.0
    """Of chances that rise with the threshold."""

    def build(self, task: Duration, stats: TargetStats) -> CREADHead:
        """The head."""
        return CREADHead(task, stats, self)
