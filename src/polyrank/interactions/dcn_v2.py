"""DCN-v2: explicit feature crosses (Wang et al., WWW 2021).

Shapes: B rows, D width.
"""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt
from torch import Tensor

from polyrank.interactions.base import Interaction, InteractionConfig
from polyrank.layers import CrossLayers, InputSpec


class Crossed(Interaction):
    """x_{l+1} = x_0 * (W_l x_l + b_l) + x_l: each column stays where it was."""

    def __init__(self, inputs: InputSpec, num_layers: int, rank: int | None) -> None:
        super().__init__()
        self.cross = CrossLayers(inputs.width, num_layers, rank=rank)
        self.outputs = inputs

    def forward(self, x_BD: Tensor) -> Tensor:
        """The cross layers."""
        crossed_BD: Tensor = self.cross(x_BD)
        return crossed_BD


class DCNv2(InteractionConfig):
    """Cross layers before sharing (Wang et al., WWW 2021, eq. 1)."""

    kind: Literal["dcn_v2"] = "dcn_v2"
    num_layers: PositiveInt = 2
    rank: PositiveInt | None = None
    """Rank of the cross matrices; null for full matrices."""

    def build(self, inputs: InputSpec) -> Crossed:
        """The cross layers."""
        return Crossed(inputs, self.num_layers, self.rank)
