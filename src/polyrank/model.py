"""The network: embed, share, heads, and nothing else.

Shapes: B rows, L logits of a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polyrank.data import Batch, Layout
from polyrank.heads import Head, build_head
from polyrank.interactions import AnyInteraction, NoInteraction
from polyrank.layers import FlatTable, InputLayer, Tower
from polyrank.schema import Declared, Schema
from polyrank.sharing import AnySharing, MMoE, Shared


class Towers(Declared):
    """Layers a task owns, between sharing and logits."""

    widths: tuple[PositiveInt, ...] = (64,)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class ModelConfig(Declared):
    """The network's shape."""

    embedding_dim: Annotated[int, Field(ge=1, le=1024)] = 16
    """Width of the flat table's rows."""
    embedding_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """In training, the chance that a column of the input representation is zeroed."""
    interaction: AnyInteraction = NoInteraction()
    sharing: AnySharing = MMoE()
    towers: Towers = Towers()
    seed_offset: NonNegativeInt = 0
    """Added to the run's seed for the initial weights: another draw on the same batches."""


@dataclass(frozen=True, kw_only=True)
class Forward:
    """What one pass gives."""

    logits: Mapping[str, Tensor]
    """(B, L) by task."""
    shared: Shared
    """What the sharing block gave: the fork, the gates, the experts' outputs."""


class RankingModel(nn.Module):
    """One network for all tasks of a schema.

    Args:
        schema: Its tasks, in order, are the towers.
        layout: Of the fitted encoders.
        config: The shape.
        seed: Of the initial weights; the same seed gives the same bits.
    """

    def __init__(self, schema: Schema, layout: Layout, config: ModelConfig, *, seed: int) -> None:
        super().__init__()
        tasks = schema.task_names
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + config.seed_offset)
            num_views = config.sharing.num_views(tasks)
            inputs = [InputLayer(layout, config.embedding_dim) for _ in range(num_views)]
            self.inputs = nn.ModuleList(inputs)
            interactions = [config.interaction.build(layer.spec) for layer in inputs]
            self.interactions = nn.ModuleList(interactions)
            self.dropout = nn.Dropout(config.embedding_dropout)
            self.sharing = config.sharing.build(interactions[0].outputs, tasks)
            self.heads: dict[str, Head] = {
                task.name: build_head(task, layout.targets[task.name]) for task in schema.tasks
            }
            self.towers = nn.ModuleList(
                [
                    Tower(
                        self.sharing.out_width,
                        config.towers.widths,
                        head.num_logits,
                        dropout=config.towers.dropout,
                        bias=head.initial_logits(),
                    )
                    for head in self.heads.values()
                ]
            )

    def forward(self, batch: Batch) -> Forward:
        """Logits of every task for every row."""
        views = [
            interaction(self.dropout(layer(batch)))
            for layer, interaction in zip(self.inputs, self.interactions, strict=True)
        ]
        shared = self.sharing(views)
        logits = {
            task: tower(shared.tasks[task])
            for task, tower in zip(self.heads, self.towers, strict=True)
        }
        return Forward(logits=logits, shared=shared)

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """(B,) float64 prediction by task, in the label's unit, in the task's sample space."""
        logits = self(batch).logits
        return {task: head.predict(logits[task]) for task, head in self.heads.items()}

    def tables(self) -> list[FlatTable]:
        """The embedding tables, whose gradients are sparse."""
        return [module for module in self.modules() if isinstance(module, FlatTable)]
