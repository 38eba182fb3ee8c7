"""The seam of sharing: one input, one output a task.

Shapes: B rows, D input width, H output width, E experts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from polyrank.schema import Declared


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What a sharing block gives."""

    tasks: Mapping[str, Tensor]
    """(B, H) by task: the input of its tower."""
    fork: tuple[Tensor, ...]
    """The last representation that several tasks share; empty where nothing is shared."""
    gates: Mapping[str, Tensor] = field(default_factory=dict)
    """(B, E) by task: the weights of the experts, each row summing to 1."""


class Sharing(nn.Module, ABC):
    """A built sharing block."""

    out_width: int

    @abstractmethod
    def forward(self, views: Sequence[Tensor]) -> Shared:
        """From the input representations to one representation a task.

        Args:
            views: ``num_views`` tensors (B, D), each from an embedding table of its own.
        """


class SharingConfig(Declared, ABC):
    """The configuration of an architecture, and its builder."""

    kind: str

    def num_views(self, tasks: Sequence[str]) -> int:
        """How many embedding tables, and so input representations, the block reads."""
        del tasks
        return 1

    @abstractmethod
    def build(self, width: int, tasks: Sequence[str]) -> Sharing:
        """The block for inputs of ``width`` columns."""
