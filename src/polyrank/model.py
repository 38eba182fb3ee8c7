"""The network: embed, share, heads, and nothing else.

Shapes: B rows, L logits of a task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polyrank.data import Batch, Layout
from polyrank.errors import suggest
from polyrank.heads import (
    AnyBias,
    AnyDelay,
    AnyFunnel,
    AnyHead,
    AnyList,
    BiasObjective,
    CrossEntropy,
    DelayObjective,
    Head,
    ListObjective,
    Masked,
    Objective,
    bias_faults,
    build_corrections,
    build_head,
    build_towers,
    delay_faults,
    list_faults,
)
from polyrank.heads.base import Extras, own_extras
from polyrank.heads.funnels.base import Logits
from polyrank.interactions import AnyInteraction, NoInteraction
from polyrank.layers import FlatTable, InputLayer, Tower
from polyrank.schema import Declared, Faults, Schema
from polyrank.schema.model import Name
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
    heads: dict[Name, AnyHead] = {}
    """By task: what turns its logits into a loss and a prediction; tasks not named have the default
    of their kind."""
    funnel: AnyFunnel = Masked()
    """How tasks within the sample space of others learn."""
    delay: dict[Name, AnyDelay] = {}
    """By binary task with a ``maturity``: how it learns from rows that are not mature; tasks not
    named mask them."""
    lists: dict[Name, AnyList] = {}
    """By binary task: a term that compares the rows of a request, beside the head's own loss. Then
    every batch holds whole requests."""
    bias: dict[Name, AnyBias] = {}
    """By binary task: what its labels owe to how the rows were shown."""
    seed_offset: NonNegativeInt = 0
    """Added to the run's seed for the initial weights: another draw on the same batches."""

    def check(self, schema: Schema) -> None:
        """Refuse a schema that does not fit.

        Raises:
            ValueError: What does not, and the cure.
        """
        self.sharing.check(schema)
        self.funnel.check(schema)
        faults = [
            *self._misplaced_heads(schema),
            *self._heads_without_logit(schema),
            *delay_faults(self.delay, schema, self.heads, self.funnel),
            *list_faults(self.lists, schema, self.heads, self.funnel, self.delay),
            *bias_faults(
                self.bias, schema, self.funnel, {"delay": self.delay, "lists": self.lists}
            ),
        ]
        if faults:
            raise Faults(faults)

    @property
    def seen_tasks(self) -> tuple[str, ...]:
        """The tasks of which is predicted what would be if the row were seen."""
        return tuple(name for name, bias in self.bias.items() if bias.predicts_seen)

    def _misplaced_heads(self, schema: Schema) -> Iterator[tuple[str, str]]:
        tasks: dict[str, Any] = {task.name: task for task in schema.tasks}
        for name, head in self.heads.items():
            place, task = f"model.heads.{name}", tasks.get(name)
            if task is None:
                known = suggest(name, tasks)
                yield place, f"a head is given to {name!r}, which is no task. {known}"
            elif task.kind not in head.suits:
                yield (
                    f"{place}.kind",
                    f"head {head.kind!r} stands on {' and '.join(head.suits)} tasks, and {name!r} "
                    f"is {task.kind}. Choose another head, or declare the task as what it is",
                )
            else:
                try:
                    head.check(task)
                except ValueError as error:
                    yield place, str(error)

    def _heads_without_logit(self, schema: Schema) -> Iterator[tuple[str, str]]:
        for name in self.funnel.needs_logits(schema):
            head = self.heads.get(name)
            if head is not None and not isinstance(head, CrossEntropy):
                yield (
                    f"model.heads.{name}.kind",
                    f"funnel {self.funnel.kind!r} multiplies the probability of {name!r}, whose "
                    f"head must be 'cross_entropy', got {head.kind!r}. Choose that head, or "
                    "funnel 'masked'",
                )


@dataclass(frozen=True, kw_only=True)
class Forward:
    """What one pass gives."""

    logits: Mapping[str, Tensor]
    """(B, L) by output of the objective, those of the tasks by their names; then "<task>.bias"."""
    shared: Shared
    """What the sharing block gave: the fork, the gates, the experts' outputs."""


class RankingModel(nn.Module):
    """One network for all tasks of a schema.

    Args:
        schema: Its tasks, in order, are the towers.
        layout: Of the fitted encoders.
        config: The shape.
        seed: Of the initial weights; the same seed gives the same bits.

    Attributes:
        layout: What the batches hold.
    """

    def __init__(self, schema: Schema, layout: Layout, config: ModelConfig, *, seed: int) -> None:
        super().__init__()
        self.layout = layout
        tasks = schema.task_names
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + config.seed_offset)
            self._views = config.sharing.views(tasks)
            inputs = [InputLayer(layout, config.embedding_dim) for _ in self._views]
            self.inputs = nn.ModuleList(inputs)
            interactions = [config.interaction.build(layer.spec) for layer in inputs]
            self.interactions = nn.ModuleList(interactions)
            self.dropout = nn.Dropout(config.embedding_dropout)
            self.sharing = config.sharing.build(interactions[0].outputs, tasks)
            self.heads: dict[str, Head] = {
                task.name: build_head(task, layout.targets[task.name], config.heads.get(task.name))
                for task in schema.tasks
            }
            self.objective: Objective = config.funnel.build(schema, self.heads)
            if config.delay:
                corrections = build_corrections(config.delay, schema, self.heads, layout)
                self.objective = DelayObjective(self.objective, corrections)
            if config.lists:
                self.objective = ListObjective(self.objective, config.lists, schema)
            if config.bias:
                self.objective = BiasObjective(self.objective, config.bias, schema)
            self.towers = nn.ModuleList(
                [
                    Tower(
                        self.sharing.out_width,
                        config.towers.widths,
                        output.num_logits,
                        dropout=config.towers.dropout,
                        bias=output.initial_logits,
                    )
                    for output in self.objective.outputs
                ]
            )
            width = (self.sharing.out_width, *config.towers.widths)[-1]
            self.transfer = config.funnel.transfer(schema, width, tasks)
            # Last, so that all else starts from the same weights with it and without.
            self.bias = build_towers(config.bias, schema, layout)

    def forward(self, batch: Batch) -> Forward:
        """Logits of every task for every row."""
        return self.above([layer(batch) for layer in self.inputs], batch)

    def above(self, inputs: Sequence[Tensor], batch: Batch) -> Forward:
        """``forward`` from what the input layers give: (B, W) of each.

        Args:
            inputs: In the order of ``self.inputs``.
            batch: Read by bias towers alone.
        """
        views = [
            interaction(self.dropout(x_BW))
            for x_BW, interaction in zip(inputs, self.interactions, strict=True)
        ]
        shared = self.sharing(views)
        towers: dict[str, Any] = {
            output.name: tower
            for output, tower in zip(self.objective.outputs, self.towers, strict=True)
        }
        hidden = {
            output.name: towers[output.name].hidden(shared.tasks[output.task])
            for output in self.objective.outputs
        }
        if self.transfer is not None:
            hidden = self.transfer(hidden)
        logits = {name: tower.logits(hidden[name]) for name, tower in towers.items()}
        if self.bias is not None:
            logits |= self.bias(batch)
        return Forward(logits=logits, shared=shared)

    def predict(self, batch: Batch, *, further: bool = False) -> dict[str, Tensor]:
        """(B,) float64 prediction by task, in the label's unit, in the task's sample space.

        Args:
            batch: Labels are not read.
            further: With "<task>.<name>" of what heads predict beside, such as "watch.p90".
        """
        return self.read(self(batch).logits, batch.extras, further=further)

    def read(self, logits: Logits, extras: Extras, *, further: bool = False) -> dict[str, Tensor]:
        """``predict`` from logits of all outputs, wherever they were computed."""
        predictions = self.objective.predict(logits, extras)
        if further:
            for task, head in self.heads.items():
                beside = head.further(logits[task], own_extras(extras, task))
                predictions |= {f"{task}.{name}": value_B for name, value_B in beside.items()}
        return predictions

    @property
    def owners(self) -> dict[str, tuple[str, ...]]:
        """As ``Sharing.owners``, of the whole network: by them a piece has the same name wherever
        its task stands."""
        outputs = tuple(output.name for output in self.objective.outputs)
        found = {"inputs": self._views, "interactions": self._views, "towers": outputs}
        for name, part in self.named_children():
            inside: Mapping[str, tuple[str, ...]] = getattr(part, "owners", {})
            found |= {f"{name}.{path}": parts for path, parts in inside.items()}
        return found

    def taken_from(self, tasks: Sequence[str]) -> dict[str, frozenset[str]]:
        """As ``Sharing.taken_from``."""
        inside = self.sharing.taken_from(tasks)
        return {f"sharing.{path}": parts for path, parts in inside.items()}

    def tables_of_inputs(self) -> list[Tensor]:
        """(rows, D) of each input layer, in their order."""
        layers: list[Any] = list(self.inputs)
        return [layer.table.weight.detach() for layer in layers]

    def tables(self) -> list[FlatTable]:
        """The embedding tables, whose gradients are sparse."""
        return [module for module in self.modules() if isinstance(module, FlatTable)]
