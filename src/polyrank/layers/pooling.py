"""Pooling of a ragged feature: a bag or a history of table rows becomes one vector a row.

Shapes: B rows, V entries of all rows in row order, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polyrank.layers.cost import cost_of
from polyrank.layers.mlp import Tower
from polyrank.layers.padding import pad_rows
from polyrank.layers.segments import segment_sum, spread


def mean_pool(values_VD: Tensor, lengths_B: Tensor) -> Tensor:
    """The mean of each row's entries: (B, D). A row without entries is the zero vector.

    Args:
        values_VD: Entries of all rows, in row order.
        lengths_B: int64, how many entries each row has; sums to V.
    """
    count_B1 = lengths_B.clamp(min=1).to(values_VD.dtype)[:, None]
    return segment_sum(values_VD, lengths_B) / count_B1


class TargetAttention(nn.Module):
    """Target attention of DIN: a history weighted by what each entry says about the target.

    v(A) = sum_j a(e_j, e_A) e_j (Zhou et al., Deep Interest Network, KDD 2018, equation 3). The
    weights are not normalised: how much of the history speaks for the target is information. The
    activation unit a is an MLP on [target, entry, target - entry, target * entry]; the paper gives
    it the pair and their outer product and uses PReLU or Dice, here ReLU.

    Args:
        dim: Width D of an entry and of the target.
        widths: Hidden widths of the activation unit.
        max_length: Entries of the longest history; only its cost depends on it.

    Raises:
        ConfigError: A width below 1.
    """

    def __init__(self, dim: int, widths: Sequence[int] = (64, 32), *, max_length: int = 1) -> None:
        super().__init__()
        self.unit = Tower(4 * dim, widths)
        self.multiply_adds = max_length * (cost_of(self.unit).multiply_adds + dim)

    def forward(self, values_VD: Tensor, lengths_B: Tensor, target_BD: Tensor) -> Tensor:
        """The weighted sum of each row's entries: (B, D), zero for a row without entries."""
        weight_V1 = self.weights(values_VD, lengths_B, target_BD)[:, None]
        return segment_sum(values_VD * weight_V1, lengths_B)

    def weights(self, values_VD: Tensor, lengths_B: Tensor, target_BD: Tensor) -> Tensor:
        """The weight a(e_j, e_A) of each entry: (V,), any sign, not normalised."""
        target_VD = spread(target_BD, lengths_B)
        pair = (target_VD, values_VD, target_VD - values_VD, target_VD * values_VD)
        x_VI = torch.cat(pair, dim=1)
        if not self.training:
            x_VI = pad_rows(x_VI)
        weight_V: Tensor = self.unit(x_VI)[: values_VD.shape[0], 0]
        return weight_V
