"""Ordinal tasks: cumulative logits, whose thresholds rise by construction.

Shapes: B rows, K levels, L = K - 1 logits: one between each two levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from polyrank.data.layout import TargetStats
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, at_least_float32
from polyrank.heads.multiclass import known_shares
from polyrank.schema import Ordinal
from polyrank.schema.classes import class_name


class CumulativeHead(Head):
    """P(label > level k) = σ(f - b_k), where b_1 < b_2 < ...; predicts the expected level.

    McCullagh (J. R. Stat. Soc. B 42, 1980), the proportional odds model, section 2. There the
    thresholds b are parameters of the task; here they depend on the row, since a head holds none:
    the first logit is f - b_1, the log odds of more than the lowest level, and each further one l
    says how far the next threshold lies above, b_(k+1) - b_k = log(1 + exp(-l)). So the thresholds
    cannot cross, and every logit that rises makes high levels more likely. A tower whose weights to
    the further logits are 0 is McCullagh's model: their biases are the thresholds.
    """

    def __init__(self, task: Ordinal, stats: TargetStats) -> None:
        self.levels = task.levels
        self.num_logits = len(task.levels) - 1
        self._shares = known_shares(stats, len(task.levels))

    def initial_logits(self) -> Tensor:
        """Those of the training shares, kept at least 1e-6."""
        above = [1 - below for below in accumulate(self._shares[:-1])]
        odds = [math.log(share) - math.log1p(-share) for share in above]
        steps = [high - low for high, low in pairwise(odds)]
        return torch.tensor([odds[0], *(-math.log(math.expm1(step)) for step in steps)])

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """-log P(the label's level); a label between levels counts as the nearest one."""
        log_prob_BK = _log_probs(at_least_float32(logits_BL))
        return F.nll_loss(log_prob_BK, self._places(labels_B), reduction="none")

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """The expected level, from the lowest to the highest."""
        gaps = [high - low for low, high in pairwise(self.levels)]
        gap_L = torch.tensor(gaps, dtype=torch.float64, device=logits_BL.device)
        above_BL = torch.sigmoid(_odds(logits_BL.double()))
        level_B = self.levels[0] + (above_BL * gap_L).sum(1)
        return level_B.clamp(self.levels[0], self.levels[-1])

    def further(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Mapping[str, Tensor]:
        """The probability of each level: ``prob_3`` of level 3."""
        names = [f"prob_{class_name(level)}" for level in self.levels]
        columns = _log_probs(logits_BL.double()).exp().unbind(1)
        return dict(zip(names, columns, strict=True))

    def _places(self, labels_B: Tensor) -> Tensor:
        halves = [low + (high - low) / 2 for low, high in pairwise(self.levels)]
        half_L = torch.tensor(halves, dtype=torch.float64, device=labels_B.device)
        return torch.bucketize(labels_B.double().contiguous(), half_L)


def _odds(logits_BL: Tensor) -> Tensor:
    """(B, L) log odds of more than each level but the highest, never rising along them."""
    steps_BL = torch.cat([logits_BL[:, :1], F.logsigmoid(logits_BL[:, 1:])], dim=1)
    return steps_BL.cumsum(1)


def _log_probs(logits_BL: Tensor) -> Tensor:
    """(B, K), finite: of a level between odds a and b, log (σ(a) - σ(b)).

    It is log σ(a) + log σ(-b) + log(1 - exp(b - a)), where no two close numbers are subtracted;
    with a - b = log(1 + exp(-l)) the last term is log σ(-l).
    """
    odds_BL = _odds(logits_BL)
    above_BL, below_BL = F.logsigmoid(odds_BL), F.logsigmoid(-odds_BL)
    between = above_BL[:, :-1] + below_BL[:, 1:] + F.logsigmoid(-logits_BL[:, 1:])
    return torch.cat([below_BL[:, :1], between, above_BL[:, -1:]], dim=1)


class Cumulative(HeadConfig):
    """Cumulative logits (McCullagh, 1980): the default of ordinal tasks. Predicts the expected
    level."""

    kind: Literal["cumulative"] = "cumulative"
    suits: ClassVar[tuple[str, ...]] = ("ordinal",)

    def build(self, task: Ordinal, stats: TargetStats) -> CumulativeHead:
        """The head."""
        return CumulativeHead(task, stats)
