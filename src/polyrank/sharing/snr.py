"""SNR: sub-networks whose connections are learned, on or off (Ma et al., AAAI 2019).

Shapes: B rows, D input width, E sub-networks that feed, N that are fed, H width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrank.layers import InputSpec, PackedExperts, ParallelLayers, weighted_sums
from polyrank.sharing.base import Shared, Sharing, SharingConfig

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
"""Temperature and stretch of the hard concrete distribution (Louizos et al., ICLR 2018)."""
START_SPREAD = 0.01
"""Standard deviation of log α at the start, around 0: each gate is open in five of six draws."""


class HardConcrete(nn.Module):
    """Gates z in [0, 1] that are exactly 0 or 1 with a chance that is learned.

    In training s = σ((log u − log(1 − u) + log α) / β) with u uniform, one draw a forward pass for
    all rows; in evaluation s = σ(log α). Then z = clip(s (ζ − γ) + γ, 0, 1).
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.empty(count))
        nn.init.normal_(self.log_alpha, std=START_SPREAD)

    def forward(self) -> Tensor:
        """(count,) in float32."""
        logits: Tensor = self.log_alpha
        if self.training:
            logits = (torch.logit(torch.rand_like(logits)) + logits) / BETA
        return (torch.sigmoid(logits) * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)

    def expected_open(self) -> Tensor:
        """A scalar: the expected number of gates that are not zero, Σ σ(log α − β log(−γ / ζ))."""
        return torch.sigmoid(self.log_alpha - BETA * math.log(-GAMMA / ZETA)).sum()


class Connections(nn.Module):
    """v_n = Σ_e z_ne W_ne u_e, or without the matrices W_ne."""

    def __init__(self, num_from: int, num_to: int, width: int, *, transform: bool) -> None:
        super().__init__()
        self._shape = (num_to, num_from)
        self.gates = HardConcrete(num_to * num_from)
        self.weight: nn.Parameter | None = None
        self.extra_multiply_adds = 0 if transform else num_to * num_from * width
        if transform:
            self.weight = nn.Parameter(torch.empty(num_to, width, num_from, width))
            nn.init.normal_(self.weight, std=(2.0 / (num_from * width)) ** 0.5)

    def extra_repr(self) -> str:
        """To how many from how many, and what each connection does."""
        ends, starts = self._shape
        if self.weight is None:
            return f"{ends} × {starts}"
        width = self.weight.shape[1]
        return f"{ends} × {starts} × ({width} → {width})"

    def forward(self, u_BEH: Tensor) -> Tensor:
        """(B, E, H) to (B, N, H)."""
        z_NE = self.gates().view(self._shape)
        if self.weight is None:
            return weighted_sums(z_NE.to(u_BEH.dtype).expand(u_BEH.shape[0], -1, -1), u_BEH)
        gated_NHEH = self.weight * z_NE[:, None, :, None]
        packed = F.linear(u_BEH.flatten(1), gated_NHEH.flatten(2).flatten(0, 1))
        return packed.view(-1, self._shape[0], u_BEH.shape[2])


class SNRBlock(Sharing):
    """Levels of sub-networks; the connections above the last lead to the tasks."""

    def __init__(self, width: int, tasks: Sequence[str], config: SNR) -> None:
        super().__init__()
        self._tasks, self._penalty_weight = tuple(tasks), config.penalty_weight
        count, widths = config.num_subnetworks, config.widths
        self.first = PackedExperts(width, widths[:1], count)
        self.levels = nn.ModuleList(
            ParallelLayers(count, before, after) for before, after in pairwise(widths)
        )
        fed = [count] * (len(widths) - 1) + [len(tasks)]
        self.connections = nn.ModuleList(
            Connections(count, to, size, transform=config.connection == "trans")
            for to, size in zip(fed, widths, strict=True)
        )
        self.out_width = widths[-1]
        self._banks = [f"{level} experts" for level in range(1, len(widths))]
        names = [f"sub-network {place}" for place in range(count)]
        self.expert_names = {
            **{
                bank: tuple(f"{level} {name}" for name in names)
                for level, bank in enumerate(self._banks, start=1)
            },
            "experts": tuple(names),
        }
        self.owners = {f"connections.{len(widths) - 1}": self._tasks}

    def forward(self, views: Sequence[Tensor]) -> Shared:
        """Each task's connections from the last level, whose outputs are the fork."""
        u_BEH = self.first(views[0])
        banks: dict[str, Tensor] = {}
        for bank, connect, level in zip(self._banks, self.connections, self.levels, strict=False):
            banks[bank] = u_BEH
            u_BEH = level(connect(u_BEH))
        outputs = self.connections[-1](u_BEH).unbind(1)
        return Shared(
            tasks=dict(zip(self._tasks, outputs, strict=True)),
            fork=(u_BEH,),
            experts={**banks, "experts": u_BEH},
            penalty=self._penalty_weight * self.expected_open(),
        )

    def expected_open(self) -> Tensor:
        """A scalar: how many connections are expected to be open, over all levels."""
        gates = [part for part in self.modules() if isinstance(part, HardConcrete)]
        return torch.stack([gate.expected_open() for gate in gates]).sum()


class SNR(SharingConfig):
    """Sub-network routing: which part of one level feeds which of the next is learned.

    The gates do not read the row: the routes are the same for all.
    """

    kind: Literal["snr"] = "snr"
    num_subnetworks: PositiveInt = 4
    """Of each level."""
    widths: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Width of the sub-networks of each level: one layer with ReLU."""
    connection: Literal["trans", "aver"] = "trans"
    """A square matrix a connection (SNR-Trans), or none (SNR-Aver), which is cheaper."""
    penalty_weight: Annotated[float, Field(ge=0)] = 1e-4
    """Added to the loss for each connection that is expected to be open."""

    def assemble(self, inputs: InputSpec, tasks: Sequence[str]) -> SNRBlock:
        """The sub-networks and connections."""
        return SNRBlock(inputs.width, tasks, self)
