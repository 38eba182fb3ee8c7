"""No interaction.

Shapes: B rows, D width.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from polyrank.interactions.base import Interaction, InteractionConfig
from polyrank.layers import InputSpec


class Untouched(Interaction):
    """The identity."""

    def __init__(self, inputs: InputSpec) -> None:
        super().__init__()
        self.outputs = inputs

    def forward(self, x_BD: Tensor) -> Tensor:
        """The same tensor."""
        return x_BD


class NoInteraction(InteractionConfig):
    """The input representation goes to the sharing block as it is."""

    kind: Literal["none"] = "none"

    def build(self, inputs: InputSpec) -> Untouched:
        """The identity."""
        return Untouched(inputs)
