"""DSelect-k: gates that select at most k experts, smoothly (Hazimeh et al., NeurIPS 2021).

Shapes: B rows, D input width, T tasks, K selectors, M bits, E = 2^M experts, H output width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from polyrank.layers import InputSpec, PackedExperts, mix, padded_width
from polyrank.sharing.base import Shared, Sharing, SharingConfig, alias


class SelectorGates(nn.Module):
    """q = Σ_i softmax(α)_i r(z_i), where r(z)_e = Π_b S(z_b)^bit (1 - S(z_b))^(1 - bit) over the
    bits of e, the most significant first (section 3.1). z and α are parameters of the task
    (section 3.1), or linear in the row (section 3.2).

    Args:
        width: Of the input.
        config: Number of experts and selectors, gamma, and whether gates depend on the row.
        tasks: One gate each.
    """

    def __init__(self, width: int, config: DSelectK, tasks: Sequence[str]) -> None:
        super().__init__()
        self._tasks = tuple(tasks)
        self._gamma = config.gamma
        self._bits = config.num_experts.bit_length() - 1
        self._selectors = config.num_selected
        size = len(tasks) * self._selectors * (self._bits + 1)
        self.bias = nn.Parameter(torch.empty(size))
        self.weight = nn.Parameter(torch.empty(size, width)) if config.per_row else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all again: z within gamma / 100 of the middle, where every bit is open, α within
        .05; the ranges of the authors' implementation."""
        for parameter in (self.bias, self.weight):
            if parameter is not None:
                z_TKM, alpha_TK = self._parts(parameter.detach().view(parameter.shape[0], -1).t())
                nn.init.uniform_(z_TKM, -self._gamma / 100, self._gamma / 100)
                nn.init.uniform_(alpha_TK, -0.05, 0.05)

    def _parts(self, logits_BX: Tensor) -> tuple[Tensor, Tensor]:
        """Views: z (B, T, K, M) and α (B, T, K)."""
        logits = logits_BX.unflatten(1, (len(self._tasks), self._selectors, self._bits + 1))
        return logits[..., :-1], logits[..., -1]

    def forward(self, x_BD: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """(B, E) by task, each row summing to 1; and the selectors r, (B or 1, T, K, E)."""
        z_BTKM, alpha_BTK = self._parts(self._logits(x_BD))
        selectors_BTKE = _decode(smooth_step(z_BTKM, self._gamma))
        weights_BTK1 = torch.softmax(alpha_BTK, dim=-1)[..., None]
        gates_BTE = (weights_BTK1 * selectors_BTKE).sum(2).expand(x_BD.shape[0], -1, -1)
        return dict(zip(self._tasks, gates_BTE.unbind(1), strict=True)), selectors_BTKE

    def _logits(self, x_BD: Tensor) -> Tensor:
        if self.weight is None:
            return self.bias[None]
        rows = len(self.bias)
        # Whole blocks of columns: bits that do not depend on the batch.
        weight_GD = F.pad(self.weight, (0, 0, 0, padded_width(rows) - rows))
        return F.linear(x_BD, weight_GD)[:, :rows].to(self.bias.dtype) + self.bias


def smooth_step(t: Tensor, gamma: float) -> Tensor:
    """S(t) = -2 t^3 / γ^3 + 3 t / (2 γ) + 1/2 for |t| <= γ/2, 0 below and 1 above (equation 4)."""
    t = t.clamp(-gamma / 2, gamma / 2)
    return -2 / gamma**3 * t**3 + 1.5 / gamma * t + 0.5


def _decode(steps: Tensor) -> Tensor:
    """(..., M) to (..., 2^M): the product over the bits of every expert's number."""
    chosen = steps.new_ones(*steps.shape[:-1], 1)
    for step in steps.unbind(-1):
        both = torch.stack([1 - step, step], dim=-1)
        chosen = (chosen[..., :, None] * both[..., None, :]).flatten(-2)
    return chosen


def mean_entropy(selectors_BTKE: Tensor) -> Tensor:
    """Σ over tasks and selectors of the entropy in nats, mean over rows; 0 for no rows."""
    # A selector that has settled is exactly 0 or 1, and the logarithm has no slope at 0.
    logs = selectors_BTKE.where(selectors_BTKE > 0, 1.0).log()
    return -(selectors_BTKE * logs).sum() / max(len(selectors_BTKE), 1)


class DSelectKBlock(Sharing):
    """f_t = Σ_e q_t(x)_e E_e(x)."""

    def __init__(self, width: int, tasks: Sequence[str], config: DSelectK) -> None:
        super().__init__()
        self._entropy = config.entropy
        self.experts = PackedExperts(width, config.widths, config.num_experts)
        self.gates = SelectorGates(width, config, tasks)
        self.out_width = config.widths[-1]
        self.extra_multiply_adds = len(tasks) * config.num_experts * self.out_width
        names = tuple(f"expert {place}" for place in range(config.num_experts))
        self.expert_names = {"experts": names}
        self.gate_experts = dict.fromkeys(tasks, names)
        self.owners = {"gates": tuple(tasks)}

    def forward(self, views: Sequence[Tensor]) -> Shared:
        """The experts' outputs, weighted by each task's gate; the experts are the fork."""
        asked_BD = alias(views[0])
        experts_BEH = self.experts(views[0])
        gates, selectors_BTKE = self.gates(asked_BD)
        penalised = self.training and self._entropy > 0.0
        return Shared(
            tasks=mix(experts_BEH, gates),
            fork=(experts_BEH,),
            asked=() if self.gates.weight is None else (asked_BD,),
            mixing=gates,
            gates=gates,
            experts={"experts": experts_BEH},
            penalty=self._entropy * mean_entropy(selectors_BTKE) if penalised else None,
        )


class DSelectK(SharingConfig):
    """MMoE whose gates settle on a few experts each.

    A selector moves smoothly from all experts to one, and stays there: its gradient is then zero.
    All experts are computed for every row, also those that no gate has selected.
    """

    kind: Literal["dselect_k"] = "dselect_k"
    num_experts: PositiveInt = 8
    """A power of 2, at least 2: the paper's penalty for other numbers is not there."""
    widths: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Hidden layers of each expert, ReLU after every one."""
    num_selected: PositiveInt = 2
    """The most experts that a gate ends with: its selectors, k in the paper."""
    gamma: PositiveFloat = 1.0
    """Width of the smooth step: a bit is decided beyond gamma / 2."""
    entropy: NonNegativeFloat = 1e-6
    """Weight of the selectors' entropy in the loss, which makes them settle; mean over rows, sum
    over selectors and tasks (the authors' code sums over rows)."""
    per_row: bool = False
    """Whether a gate depends on the row or is the same for all rows of its task."""

    @model_validator(mode="after")
    def _selects_among_experts(self) -> DSelectK:
        if self.num_experts < 2 or self.num_experts & (self.num_experts - 1):
            raise ValueError(
                f"`num_experts` must be a power of 2, at least 2, got {self.num_experts}: experts "
                f"are numbered in bits. Take {max(2, 1 << (self.num_experts.bit_length() - 1))} or "
                f"{max(4, 1 << self.num_experts.bit_length())}"
            )
        if self.num_selected > self.num_experts:
            raise ValueError(
                f"`num_selected` must be at most `num_experts`, {self.num_experts}, "
                f"got {self.num_selected}"
            )
        return self

    def assemble(self, inputs: InputSpec, tasks: Sequence[str]) -> DSelectKBlock:
        """The experts and gates."""
        return DSelectKBlock(inputs.width, tasks, self)
