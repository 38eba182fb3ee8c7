"""The seam of loss balancing: T losses in, T weights out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from polyrank.schema import Declared


class Weighting(nn.Module, ABC):
    """Task weights of a step. What it remembers is a buffer, so that a checkpoint carries it."""

    @abstractmethod
    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A scalar weight for each task of ``losses``, without gradient to the network.

        Args:
            losses: Masked mean loss of each task that is observed in the batch, scalars.
        """


class Scalarizer(Declared, ABC):
    """The configuration of a weighting, and its builder."""

    kind: str

    @abstractmethod
    def build(self, tasks: Sequence[str]) -> Weighting:
        """The weighting of these tasks.

        Raises:
            ConfigError: A setting names a task that is not there.
        """
