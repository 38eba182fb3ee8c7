"""What architectures of gated experts have in common: the settings that keep experts in health.

Shapes: B rows, E experts of all banks, W weights of all gates.
"""

from __future__ import annotations

from abc import ABC
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from polyrank.layers import Gates, PackedExperts
from polyrank.layers.experts import Activation, Norm
from polyrank.sharing.base import SharingConfig


class Gated(SharingConfig, ABC):
    """Experts behind softmax gates."""

    widths: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Hidden layers of each expert."""
    activation: Activation = "relu"
    """After every layer of an expert: ``relu``, or ``swish`` against units that die."""
    norm: Norm = "none"
    """Before every activation of an expert: ``none``, or ``layer`` or ``batch`` against experts
    whose outputs grow apart in scale."""
    gate_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """In training, the chance that an expert's weight is zeroed; the rest is renormalised. Against
    gates that collapse on one expert (Zhao et al., RecSys 2019, section 4.2.3)."""
    gate_temperature: PositiveFloat = 1.0
    """Divides the gates' logits before the softmax."""
    balance: NonNegativeFloat = 0.0
    """Weight of the balance loss: the squared coefficient of variation of the experts' mean gate
    weights, over the batch and all gates (Shazeer et al., ICLR 2017, equations 6-7)."""

    def make_experts(self, width: int, num_experts: int) -> PackedExperts:
        """Experts of these settings."""
        return PackedExperts(
            width, self.widths, num_experts, activation=self.activation, norm=self.norm
        )

    def make_gates(self, width: int, names: Sequence[str], num_experts: int) -> Gates:
        """Gates of these settings."""
        return Gates(
            width,
            names,
            num_experts,
            dropout=self.gate_dropout,
            temperature=self.gate_temperature,
        )


def spread_out(kind: str) -> str:
    """Why an architecture whose gates see the experts of all tasks takes no further task."""
    return (
        f"{kind!r} takes no further task: every task's gate spreads over the experts of all tasks, "
        "and one more would take from the others and change what they predict. Train afresh, or "
        "start from a parent with 'mmoe', 'cgc' or 'ple'"
    )


class Balance(nn.Module):
    """The balance loss of all banks, in training.

    The load of an expert is its mean weight over the batch and over the gates that see it, each
    weight times the number of experts of its gate: 1 is an even share, and an expert of one task
    counts like one of all. The loss is the sum over banks of var(load) / mean(load)^2; where every
    gate sees the whole bank, that is the paper's.

    Args:
        weight: Of the loss; 0 leaves it out.
        expert_names: As a block's.
        gate_experts: As a block's.
    """

    even_EW: Tensor

    def __init__(
        self,
        weight: float,
        expert_names: Mapping[str, Sequence[str]],
        gate_experts: Mapping[str, Sequence[str]],
    ) -> None:
        super().__init__()
        self.weight = weight
        self._banks = [len(bank) for bank in expert_names.values()]
        names = [name for bank in expert_names.values() for name in bank]
        gates = Counter(name for seen in gate_experts.values() for name in seen)
        rows = [
            [
                len(seen) / gates[name] * (name == other)
                for seen in gate_experts.values()
                for other in seen
            ]
            for name in names
        ]
        # Never on meta, where a bundle builds a network to be filled: no file holds it.
        self.register_buffer("even_EW", torch.tensor(rows, device="cpu"), persistent=False)

    def forward(self, gates: Mapping[str, Tensor]) -> Tensor | None:
        """The weighted loss of gates (B, their experts); 0 for no rows, none when serving."""
        if not self.training or self.weight == 0.0:
            return None
        means_W = torch.cat([gate.float().sum(0) / max(len(gate), 1) for gate in gates.values()])
        loads_E = (self.even_EW * means_W).sum(1)
        return (
            self.weight * torch.stack([_variation(own) for own in loads_E.split(self._banks)]).sum()
        )


def _variation(loads_E: Tensor) -> Tensor:
    """(sd / mean)^2; 0 where all loads are."""
    return loads_E.var(correction=0) / loads_E.mean().square().clamp_min(1e-12)
