"""Shared bottom: one trunk for all tasks (Caruana, Machine Learning 1997)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import Tensor

from polyrank.layers import MLP, InputSpec
from polyrank.sharing.base import Shared, Sharing, SharingConfig


class SharedBottomBlock(Sharing):
    """ŷ_k = h_k(f(x)): f is this block, the towers h_k follow."""

    def __init__(
        self, width: int, tasks: Sequence[str], widths: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self._tasks = tuple(tasks)
        self.trunk = MLP(width, widths, dropout=dropout)
        self.out_width = widths[-1]

    def forward(self, views: Sequence[Tensor]) -> Shared:
        """The trunk's output, the same for every task."""
        trunk_BH = self.trunk(views[0])
        return Shared(tasks=dict.fromkeys(self._tasks, trunk_BH), fork=(trunk_BH,))


class SharedBottom(SharingConfig):
    """One trunk under all towers."""

    kind: Literal["shared_bottom"] = "shared_bottom"
    widths: tuple[PositiveInt, ...] = Field(default=(512, 256), min_length=1)
    """Hidden layers of the trunk."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def assemble(self, inputs: InputSpec, tasks: Sequence[str]) -> SharedBottomBlock:
        """The trunk."""
        return SharedBottomBlock(inputs.width, tasks, self.widths, self.dropout)
