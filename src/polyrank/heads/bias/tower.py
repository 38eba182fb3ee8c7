"""Bias towers: a logit from how a row was shown, with embeddings of their own.

Shapes: B rows, F features, D width of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrank.data import Batch, Layout
from polyrank.errors import suggest
from polyrank.layers import FlatTable, Tower
from polyrank.schema import Declared, Schema

SPREAD = 0.1
"""Of the embeddings at the start: wider than the shared table's .01, so that a bias is learned
before the network takes it for what rows are."""


class BiasTower(nn.Module):
    """The features' embeddings side by side, so that hidden layers cross them; one logit.

    In evaluation and scoring every feature is missing, whatever the batch holds: the logit is one
    number, the same for all rows.

    Args:
        layout: What the batches hold.
        features: On the side ``bias``, at least one.
        dim: D.
        widths: Of the hidden layers; empty: each feature's values add to the logit.
        dropout: In training, the chance that a row's features are missing, all together.
        start: The logit before anything is learned, about.
    """

    _places_F: Tensor
    _missing_F: Tensor
    _shift_F: Tensor

    def __init__(
        self,
        layout: Layout,
        features: Sequence[str],
        *,
        dim: int,
        widths: Sequence[int],
        dropout: float = 0.0,
        start: float = 0.0,
    ) -> None:
        super().__init__()
        rows = [layout.bias_rows[name] for name in features]
        places = {column.name: place for place, column in enumerate(layout.ids)}
        self.dropout = dropout
        self.table = FlatTable(sum(map(len, rows)), dim)
        nn.init.normal_(self.table.weight, std=SPREAD)
        self.tower = Tower(len(rows) * dim, widths, bias=torch.tensor([start]))
        first, shifts = 0, []
        for own in rows:
            shifts.append(first - own.start)
            first += len(own)
        # Never on ``meta``, where a bundle builds a network to be filled: no file holds them.
        for name, numbers in (
            ("_places_F", [places[name] for name in features]),
            ("_missing_F", [own.start for own in rows]),
            ("_shift_F", shifts),
        ):
            self.register_buffer(name, torch.tensor(numbers, device="cpu"), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        """(B, 1), fp32."""
        if not self.training:
            return self._logits(self._missing_F[None]).expand(batch.ids_BF.shape[0], 1)
        ids_BF = batch.ids_BF.index_select(1, self._places_F)
        if self.dropout > 0:
            missing_B1 = torch.rand(len(batch), 1, device=ids_BF.device) < self.dropout
            ids_BF = torch.where(missing_B1, self._missing_F, ids_BF)
        return self._logits(ids_BF)

    def _logits(self, ids_BF: Tensor) -> Tensor:
        logits_B1: Tensor = self.tower(self.table(ids_BF + self._shift_F).flatten(1))
        return logits_B1


class BiasTowers(nn.Module):
    """The towers by task."""

    def __init__(self, towers: Mapping[str, BiasTower]) -> None:
        super().__init__()
        self.tasks = tuple(towers)
        self.towers = nn.ModuleList(towers.values())

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """(B, 1) by "<task>.bias"."""
        pairs = zip(self.tasks, self.towers, strict=True)
        return {bias_name(task): tower(batch) for task, tower in pairs}

    @property
    def owners(self) -> dict[str, tuple[str, ...]]:
        """As ``Sharing.owners``."""
        return {"towers": self.tasks}


def bias_name(task: str) -> str:
    """The name of a task's bias logit."""
    return f"{task}.bias"


class TowerShape(Declared):
    """What a bias tower reads, and its layers."""

    features: tuple[str, ...] = ()
    """Features with ``side: bias`` that it reads, crossed by its hidden layers; empty: all."""
    embedding_dim: Annotated[int, Field(ge=1, le=256)] = 16
    """Of each feature, in a table of the tower's own."""
    widths: tuple[PositiveInt, ...] = (16,)
    """Hidden layers; empty: the features only add up."""

    def reads(self, schema: Schema) -> tuple[str, ...]:
        """The features."""
        return self.features or schema.bias_names

    def shape_faults(self, schema: Schema) -> Iterator[tuple[str, str]]:
        """Features that it cannot read."""
        known = schema.bias_names
        if not known:
            yield (
                "",
                "it learns from features with `side: bias`, and the schema has none. Declare the "
                "position, say, as {kind: categorical, name: position, side: bias}",
            )
            return
        for place, name in enumerate(self.features):
            if name in self.features[:place]:
                yield f"features.{place}", f"names {name!r} twice. Remove one"
            elif name not in known:
                told = {feature.name: feature.side for feature in schema.features}
                what = f"has `side: {told[name]}`" if name in told else "is no feature"
                yield (
                    f"features.{place}",
                    f"names {name!r}, which {what}. {suggest(name, known)}",
                )
