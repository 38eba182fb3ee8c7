"""Duration tasks: a tree of conditional classifiers over quantiles of the training labels.

Shapes: B rows, N leaves, D nodes of a depth, E = N - 1 edges between leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, field_validator
from torch import Tensor
from torch.nn import functional as F

from polyrank.data.layout import TargetStats
from polyrank.heads._censoring import bounds
from polyrank.heads._law import Buckets, Law
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, at_least_float32
from polyrank.schema import Duration

_LEAST_VARIANCE = 1e-6
"""Under the root, so that its slope stays finite."""


class TPMHead(Head):
    """A logit a node, root first, then depth by depth: that the label lies in the right half.

    Predicts Σ P(leaf) · the mean training label of the leaf. See ``TPM``.
    """

    def __init__(self, task: Duration, stats: TargetStats, config: TPM) -> None:
        self._config = config
        self._seconds = task.seconds_per_unit
        self._law = Law(stats.quantiles)
        self._buckets = Buckets(self._law, [k / config.leaves for k in range(config.leaves + 1)])
        self._spread = self._law.spread
        self.num_logits = config.leaves - 1

    def initial_logits(self) -> Tensor:
        """0: every leaf as likely as in training."""
        return torch.zeros(self.num_logits)

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """-log P(leaf), plus the two further terms of ``TPM``; at least 0.

        A tie over several leaves: -log P(any of them). A lower bound: -log P(at or beyond it), by
        shares within its leaf; in the squared error stands what the tree itself expects beyond it.
        """
        log_BN = _log_leaves(at_least_float32(logits_BL))
        seconds_B = labels_B.double() * self._seconds
        bound_B = bounds(extras, labels_B)
        within_BN = log_BN + self._shares(seconds_B, bound_B).to(log_BN.dtype).log()
        likelihood_B = -torch.logsumexp(within_BN, 1)
        value_N = torch.tensor(self._buckets.values, dtype=torch.float64, device=log_BN.device)
        value_N = (value_N / self._spread).to(log_BN.dtype)
        target_B = (seconds_B / self._spread).to(log_BN.dtype)
        if bound_B is not None:
            expected_B = (torch.softmax(within_BN.detach(), 1) * value_N).sum(1)
            target_B = torch.where(bound_B, torch.maximum(expected_B, target_B), target_B)
        mean_B, deviation_B = _moments(log_BN.exp(), value_N)
        return (
            likelihood_B
            + self._config.deviation_weight * deviation_B
            + self._config.error_weight * (mean_B - target_B) ** 2
        )

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Mean time in the label's unit, within that of the training labels."""
        return self._buckets.mean(_beyond(logits_BL.double())) / self._seconds

    def further(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Mapping[str, Tensor]:
        """The quantiles of the law over the leaves."""
        found = self._buckets.quantiles(_beyond(logits_BL.double()))
        return {name: seconds_B / self._seconds for name, seconds_B in found.items()}

    def _shares(self, seconds_B: Tensor, bound_B: Tensor | None) -> Tensor:
        """(B, N) float64: of each leaf, how much of it the label leaves open; the most is 1."""
        first_B, last_B = self._law.ranks(seconds_B)
        # A value: the cell of the training quantiles that it is in, or all cells that are tied.
        cells = self._law.num_cells
        low_B = (first_B * cells).floor().clamp(max=cells - 1) / cells
        high_B = torch.maximum((last_B * cells).ceil() / cells, low_B + 1 / cells)
        if bound_B is not None:
            low_B = torch.where(bound_B, first_B.clamp(max=1 - 0.5 / cells), low_B)
            high_B = torch.where(bound_B, 1.0, high_B)
        edge_N = torch.tensor(self._buckets.edges, dtype=torch.float64, device=low_B.device)
        start_BN = torch.maximum(edge_N[:-1], low_B[:, None])
        share_BN = (torch.minimum(edge_N[1:], high_B[:, None]) - start_BN).clamp(min=0)
        return share_BN / share_BN.amax(1, keepdim=True)


def _log_leaves(logits_BL: Tensor) -> Tensor:
    """(B, N) log P(leaf): the sum along its path."""
    log_BN = logits_BL.new_zeros(logits_BL.shape[0], 1)
    for node_BD in _depths(logits_BL):
        sides = (F.logsigmoid(-node_BD), F.logsigmoid(node_BD))
        log_BN = torch.stack([log_BN + side_BD for side_BD in sides], 2).flatten(1)
    return log_BN


def _beyond(logits_BL: Tensor) -> Tensor:
    """(B, E) P(the label lies right of the edge); never falls with a logit, rounding included."""
    beyond_BDE = logits_BL.new_empty(logits_BL.shape[0], logits_BL.shape[1] + 1, 0)
    for node_BD in reversed(_depths(logits_BL)):
        left_BDE, right_BDE = beyond_BDE.unflatten(1, (-1, 2)).unbind(2)
        up_BD1, down_BD1 = torch.sigmoid(node_BD)[..., None], torch.sigmoid(-node_BD)[..., None]
        beyond_BDE = torch.cat([1 - down_BD1 * (1 - left_BDE), up_BD1, up_BD1 * right_BDE], 2)
    return beyond_BDE[:, 0]


def _depths(logits_BL: Tensor) -> list[Tensor]:
    """(B, 1), (B, 2), (B, 4) and so on."""
    starts = [2**depth - 1 for depth in range((logits_BL.shape[1] + 1).bit_length())]
    return [logits_BL[:, start:end] for start, end in pairwise(starts)]


def _moments(chance_BN: Tensor, value_N: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) mean and standard deviation."""
    mean_B = (chance_BN * value_N).sum(1)
    variance_B = (chance_BN * (value_N - mean_B[:, None]) ** 2).sum(1)
    return mean_B, torch.sqrt(variance_B + _LEAST_VARIANCE)


class TPM(HeadConfig):
    """Tree-based progressive regression (Lin et al., TPM, KDD 2023).

    The training labels' quantiles are the leaves of a balanced binary tree, each node classifies
    the half that a label lies in, given that it lies below the node. With mean and std of the law
    over the leaves, loss = -log P(leaf) + ``deviation_weight`` · std + ``error_weight`` · (mean -
    label)². Predicts the mean, and p10, p50, p90.

    We depart in four ways. A leaf stands for the mean training label in it, not for the middle of
    its interval, which of the last leaf of a long tail lies far above. Times in the two further
    terms are in standard deviations of the training label, so that the weights, whose defaults are
    ours, do not depend on the unit. A label that repeats so often that it fills several leaves is
    found in any of them. The backdoor adjustment is left out.

    A label that is a lower bound counts as -log P(at or beyond it), the likelihood if it was cut
    independently of the time, given the row. In the squared error it is replaced by the mean time
    beyond it under the tree as it stands (Buckley and James, Biometrika 66, 1979).
    """

    kind: Literal["tpm"] = "tpm"
    suits: ClassVar[tuple[str, ...]] = ("duration",)
    leaves: Annotated[int, Field(ge=2, le=512)] = 32
    """How many, a power of 2. One classifier less is learned."""
    deviation_weight: NonNegativeFloat = 0.01
    """Of the law's standard deviation: more makes it narrower."""
    error_weight: NonNegativeFloat = 0.1
    """Of the squared error of its mean."""

    @field_validator("leaves")
    @classmethod
    def _fill_a_tree(cls, leaves: int) -> int:
        if leaves & (leaves - 1):
            raise ValueError(f"`leaves` must be a power of 2, got {leaves}; try 16, 32 or 64")
        return leaves

    def build(self, task: Duration, stats: TargetStats) -> TPMHead:
        """The head."""
        return TPMHead(task, stats, self)
