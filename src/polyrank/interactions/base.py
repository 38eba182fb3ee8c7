"""The seam of interactions: one representation in, one out.

Shapes: B rows, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from polyrank.layers import InputSpec
from polyrank.schema import Declared


class Interaction(nn.Module, ABC):
    """A built interaction."""

    outputs: InputSpec
    """What the sharing above is told."""

    @abstractmethod
    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, inputs.width) to (B, outputs.width)."""


class InteractionConfig(Declared, ABC):
    """The configuration of an interaction, and its builder."""

    kind: str

    @abstractmethod
    def build(self, inputs: InputSpec) -> Interaction:
        """The interaction for such inputs.

        Raises:
            ConfigError: It cannot read them.
        """
