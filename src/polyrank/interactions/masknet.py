"""Parallel MaskNet: feature crosses by masks that each row makes of itself.

Wang, She, Zhang, MaskNet, DLP-KDD 2021.

Shapes: B rows, D width of the input, A width inside a mask, H width of a block's output, N blocks.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from polyrank.interactions.base import Interaction, InteractionConfig
from polyrank.layers import MLP, InputSpec, padded_width


class MaskBlock(nn.Module):
    """LN(W (LN(x) * mask(x))), with mask(x) = W_2 relu(W_1 x + b_1) + b_2."""

    def __init__(self, in_width: int, mask_width: int, out_width: int, *, normed: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_width) if normed else nn.Identity()
        self.mask = MLP(in_width, (mask_width, in_width), linear_last=True)
        self.hidden = nn.Linear(in_width, out_width, bias=False)
        self.out_norm = nn.LayerNorm(out_width)
        last = self.mask.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.ones_(last.bias)

    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, D) to (B, H)."""
        hidden_BH: Tensor = self.hidden(self.norm(x_BD) * self.mask(x_BD))
        # In float32 under autocast, too: half precision would lose small differences.
        out_BH: Tensor = self.out_norm(hidden_BH.to(self.out_norm.weight.dtype))
        return out_BH


class Masked(Interaction):
    """Blocks side by side that all read the input representation."""

    def __init__(self, inputs: InputSpec, config: MaskNet) -> None:
        super().__init__()
        out_width = padded_width(config.width)
        self.blocks = nn.ModuleList(
            MaskBlock(
                inputs.width, padded_width(config.mask_width), out_width, normed=config.input_norm
            )
            for _ in range(config.num_blocks)
        )
        self.outputs = InputSpec(width=config.num_blocks * out_width)

    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, D) to (B, N * H)."""
        return torch.cat([block(x_BD) for block in self.blocks], dim=1)


class MaskNet(InteractionConfig):
    """Parallel MaskNet before sharing (Wang et al., DLP-KDD 2021).

    The layers above the blocks are those of ``model.sharing``. Three departures: the norm of the
    input is over all of it, since a number is a field of one column, which a norm of its own would
    make constant; no ReLU ends a block, as in the ranker that X published in 2023; a mask starts
    around one, so that a block starts as a layer of its normed input.
    """

    kind: Literal["masknet"] = "masknet"
    num_blocks: PositiveInt = 4
    width: PositiveInt = 64
    """Of a block's output; rounded up to a multiple of 16."""
    mask_width: PositiveInt = 128
    """Of the hidden layer that makes a block's mask; rounded up to a multiple of 16."""
    input_norm: bool = True
    """Whether a block multiplies its mask with the layer norm of its input, or the input itself."""

    def build(self, inputs: InputSpec) -> Masked:
        """The blocks; what stands above no longer knows which column is whose."""
        return Masked(inputs, self)
