"""One run of the synthetic experiment: a fresh pair of tasks, fresh weights, a stream of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from polyrank.layers import InputSpec, Tower
from polyrank.sharing import PLE, MMoE, OMoE, SharedBottom, SharingConfig
from synthetic.task_pair import TaskPair

TASKS = ("first", "second")
NUM_INPUTS, BATCH, STEPS, EVERY, HELD_OUT = 100, 512, 2000, 100, 8192
MODELS: Mapping[str, SharingConfig] = {
    "shared-bottom": SharedBottom(widths=(113,)),
    "OMoE": OMoE(num_experts=8, widths=(16,)),
    "MMoE": MMoE(num_experts=8, widths=(16,)),
    "PLE": PLE(num_levels=2, num_task_experts=2, num_shared_experts=2, widths=(18,)),
}
"""Matched as in the paper: 13,056 weights of experts and towers (8 units each), gates and biases
left out; PLE, with six experts in each of two levels, has 13,032."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What decides one run."""

    model: str
    correlation: float
    seed: int
    learning_rate: float

    def name(self) -> str:
        """Of the run's file."""
        return f"{self.model}-p{self.correlation:g}-seed{self.seed}-rate{self.learning_rate:g}"


class Network(nn.Module):
    """Sharing and a tower a task."""

    def __init__(self, config: SharingConfig) -> None:
        super().__init__()
        self.sharing = config.build(InputSpec(width=NUM_INPUTS), TASKS)
        self.towers = nn.ModuleList([Tower(self.sharing.out_width, (8,)) for _ in TASKS])

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        """(N, D) to predictions (N, 2)."""
        shared = self.sharing([x_ND])
        columns = [
            tower(shared.tasks[task]) for task, tower in zip(TASKS, self.towers, strict=True)
        ]
        return torch.cat(columns, dim=1)

    def num_weights(self) -> int:
        """Weights of experts and hidden tower layers: what the paper matches."""
        trunk = [p for name, p in self.sharing.named_parameters() if "gate" not in name]
        hidden = [p for tower in self.towers for p in tower.hidden.parameters()]  # type: ignore[union-attr]
        return sum(p.numel() for p in [*trunk, *hidden] if p.ndim >= 2)


def curve(run: Run) -> list[float]:
    """Mean squared error of both tasks on rows held out, every ``EVERY`` steps."""
    torch.set_num_threads(1)
    pair = TaskPair.draw(run.correlation, run.seed, NUM_INPUTS)
    random = torch.Generator().manual_seed(run.seed + 1_000_000)
    held_x, held_y = pair.rows(HELD_OUT, random)
    torch.manual_seed(run.seed)
    network = Network(MODELS[run.model])
    optimizer = torch.optim.Adam(network.parameters(), lr=run.learning_rate, fused=True)
    losses: list[float] = []
    for step in range(1, STEPS + 1):
        x_ND, y_N2 = pair.rows(BATCH, random)
        loss = (network(x_ND) - y_N2).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % EVERY == 0:
            with torch.no_grad():
                losses.append((network(held_x) - held_y).square().mean().item())
    return losses
