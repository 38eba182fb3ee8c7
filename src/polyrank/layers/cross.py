"""Explicit feature crosses before sharing.

Shapes: B rows, D width of the input, K rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from polyrank.layers.checks import positive


class CrossLayers(nn.Module):
    """DCN-v2: x_{l+1} = x_0 * (W_l x_l + b_l) + x_l.

    Wang et al., DCN V2, WWW 2021, equation 1; with ``rank``, W_l = U_l V_l^T (section 3.5). The
    products run in the autocast precision, the sum x_l in at least float32.

    Args:
        width: Width D of the input and the output.
        num_layers: Cross layers, at least 1.
        rank: Rank K of each W; null is a full matrix.

    Raises:
        ConfigError: A value below 1.
    """

    def __init__(self, width: int, num_layers: int = 2, *, rank: int | None = None) -> None:
        super().__init__()
        positive("width", width)
        self.layers = nn.ModuleList(
            _product(width, rank) for _ in range(positive("num_layers", num_layers))
        )
        self.out_width = width

    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, width) to (B, width)."""
        x0_BD = x_BD.to(torch.promote_types(x_BD.dtype, torch.float32))
        x_BD = x0_BD
        for layer in self.layers:
            x_BD = x0_BD * layer(x_BD) + x_BD
        return x_BD


def _product(width: int, rank: int | None) -> nn.Module:
    if rank is None:
        return nn.Linear(width, width)
    down = nn.Linear(width, positive("rank", rank), bias=False)
    return nn.Sequential(down, nn.Linear(rank, width))
