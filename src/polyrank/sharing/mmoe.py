"""MMoE: experts shared by all tasks, one gate a task (Ma et al., KDD 2018, eq. 6-7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from polyrank.layers import Gates, InputSpec, PackedExperts, mix
from polyrank.sharing.base import Shared, Sharing, SharingConfig


class MMoEBlock(Sharing):
    """f_k = Σ_e g_k(x)_e E_e(x), with g_k = softmax(W_k x)."""

    def __init__(self, width: int, tasks: Sequence[str], config: MMoE) -> None:
        super().__init__()
        self.experts = PackedExperts(width, config.widths, config.num_experts)
        self.gates = Gates(
            width,
            tuple(tasks),
            config.num_experts,
            dropout=config.gate_dropout,
            temperature=config.gate_temperature,
        )
        self.out_width = config.widths[-1]
        self.extra_multiply_adds = len(tasks) * config.num_experts * self.out_width
        names = tuple(f"expert {place}" for place in range(config.num_experts))
        self.expert_names = {"experts": names}
        self.gate_experts = dict.fromkeys(tasks, names)
        self.owners = {"gates": tuple(tasks)}

    def forward(self, views: Sequence[Tensor]) -> Shared:
        """The experts' outputs, weighted by each task's gate; the experts are the fork."""
        experts_BEH = self.experts(views[0])
        gates = self.gates(views[0])
        return Shared(
            tasks=mix(experts_BEH, gates),
            fork=(experts_BEH,),
            gates=gates,
            experts={"experts": experts_BEH},
        )


class MMoE(SharingConfig):
    """Mixture of experts with a gate a task.

    The experts stand directly on the input representation: the published model's shared layers
    below them are the cross layers of ``model.interaction`` here.
    """

    kind: Literal["mmoe"] = "mmoe"
    num_experts: PositiveInt = 8
    widths: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Hidden layers of each expert, ReLU after every one."""
    gate_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """In training, the chance that an expert's weight is zeroed; the rest is renormalised. Against
    gates that collapse on one expert (Zhao et al., RecSys 2019, section 4.2.3)."""
    gate_temperature: PositiveFloat = 1.0
    """Divides the gates' logits before the softmax."""

    def assemble(self, inputs: InputSpec, tasks: Sequence[str]) -> MMoEBlock:
        """The experts and gates."""
        return MMoEBlock(inputs.width, tasks, self)
