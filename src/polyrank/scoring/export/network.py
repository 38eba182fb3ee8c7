"""The network as other runtimes see it: named tensors in, named tensors out.

Shapes: N rows, R users, F id columns, X numeric columns, V entries of a list in all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from polyrank.data import Batch, Layout, Ragged
from polyrank.data.layout import IdColumn, NumericColumn
from polyrank.layers import BySide, InputLayer, Sided
from polyrank.model import RankingModel
from polyrank.scoring.engines.base import UserRows

Gives = Literal["predictions", "logits"]
"""What a network is asked for: (N,) float64 by task, or (N, L) float32 by output. For logits the
embedding tables are inputs, too, "table.0" and so on: an engine has them in memory as they are."""
Kind = Literal["users", "rows", "entries"]
"""What the first dimension counts."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """One tensor that goes in."""

    name: str
    dtype: Literal["int64", "float32"]
    counts: Kind
    width: int | None = None
    """Columns; null: it has one dimension."""
    columns: tuple[str, ...] = ()
    """What each column is."""


class Inputs:
    """The tensors that a network reads, and how a batch becomes them.

    Args:
        layout: Of the batches.
        lengths: The tasks whose length is read.
    """

    def __init__(self, layout: Layout, lengths: Sequence[str] = ()) -> None:
        self._layout = layout
        self._lengths = tuple(lengths)
        of_user, others = ("user",), ("item", "context")
        self._ids = _places(layout.ids, of_user), _places(layout.ids, others)
        self._numbers = _places(layout.numerics, of_user), _places(layout.numerics, others)
        self.each: tuple[Input, ...] = tuple(self._each())
        """In their order."""
        self.names = tuple(each.name for each in self.each)

    def of(self, batch: Batch, users: UserRows | None) -> dict[str, Tensor]:
        """The tensors by name; without ``users`` every row is a user."""
        own = batch if users is None else users.batch
        row_N = torch.arange(len(batch)) if users is None else users.row_N
        found: dict[str, Tensor] = {"user_row": row_N}
        for prefix, source, place in (("user_", own, 0), ("", batch, 1)):
            found[f"{prefix}ids"] = source.ids_BF[:, self._ids[place]]
            found[f"{prefix}numbers"] = source.numeric_BN[:, self._numbers[place]]
        for column in self._layout.ragged:
            ragged = (own if column.side == "user" else batch).ragged[column.name]
            found[f"list.{column.name}.values"] = ragged.values_V
            found[f"list.{column.name}.lengths"] = ragged.lengths_B
        for vector in self._layout.vectors:
            source = own if vector.side == "user" else batch
            found[f"vector.{vector.name}"] = source.vectors[vector.name]
        for task in self._lengths:
            found[f"length.{task}"] = batch.extras[f"{task}.length"]
        return {name: found[name].contiguous() for name in self.names}

    def sided(self, x: Mapping[str, Tensor]) -> Sided:
        """What input layers read of the tensors."""
        return Sided(
            user_row_N=x["user_row"],
            user_ids_RF=x.get("user_ids"),
            user_numbers_RX=x.get("user_numbers"),
            ids_NF=x.get("ids"),
            numbers_NX=x.get("numbers"),
            ragged={
                column.name: Ragged(
                    values_V=x[f"list.{column.name}.values"],
                    lengths_B=x[f"list.{column.name}.lengths"],
                )
                for column in self._layout.ragged
            },
            vectors={
                vector.name: x[f"vector.{vector.name}"]
                for vector in self._layout.vectors
                if vector.side != "bias"
            },
        )

    @property
    def lengths(self) -> tuple[str, ...]:
        """The tasks whose length is read."""
        return self._lengths

    def extras(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What heads read of a row."""
        return {f"{task}.length": x[f"length.{task}"] for task in self._lengths}

    def _each(self) -> list[Input]:
        layout = self._layout
        found = [Input(name="user_row", dtype="int64", counts="rows")]
        for place, (prefix, counts) in enumerate(_SIDES):
            ids = tuple(layout.ids[at].name for at in self._ids[place])
            numbers = tuple(layout.numerics[at].name for at in self._numbers[place])
            if ids:
                name = f"{prefix}ids"
                found.append(_table(name, "int64", counts, ids))
            if numbers:
                name = f"{prefix}numbers"
                found.append(_table(name, "float32", counts, numbers))
        for column in layout.ragged:
            name = f"list.{column.name}"
            found.append(Input(name=f"{name}.values", dtype="int64", counts="entries"))
            found.append(Input(name=f"{name}.lengths", dtype="int64", counts=_counts(column.side)))
        for vector in layout.vectors:
            found.append(
                Input(
                    name=f"vector.{vector.name}",
                    dtype="float32",
                    counts=_counts(vector.side),
                    width=vector.dim,
                )
            )
        for task in self._lengths:
            found.append(Input(name=f"length.{task}", dtype="float32", counts="rows"))
        return found


_SIDES: tuple[tuple[str, Kind], ...] = (("user_", "users"), ("", "rows"))


def _counts(side: str) -> Kind:
    return "users" if side == "user" else "rows"


def _table(
    name: str, dtype: Literal["int64", "float32"], counts: Kind, columns: tuple[str, ...]
) -> Input:
    return Input(name=name, dtype=dtype, counts=counts, width=len(columns), columns=columns)


def _places(columns: Sequence[IdColumn | NumericColumn], sides: Sequence[str]) -> list[int]:
    """The columns of these sides, by side."""
    return [place for side in sides for place, column in enumerate(columns) if column.side == side]


def table_name(place: int) -> str:
    """The name of an embedding table as an input."""
    return f"table.{place}"


class Network(nn.Module):
    """A model from the inputs' tensors to what it is asked for.

    Args:
        model: Trained.
        inputs: Of its layout.
        gives: What it is asked for.
    """

    def __init__(self, model: RankingModel, inputs: Inputs, gives: Gives) -> None:
        super().__init__()
        self.model = model
        self._inputs = inputs
        self._gives = gives

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what it gives, in their order."""
        if self._gives == "logits":
            return tuple(output.name for output in self.model.objective.outputs)
        return tuple(self.model.heads)

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors by name to tensors by name."""
        sided = self._inputs.sided(x)
        inputs = []
        for place, layer in enumerate(self.model.inputs):
            assert isinstance(layer, InputLayer)
            inputs.append(BySide(layer, sided, x.get(table_name(place))).rows())
        rows = Batch(ids_BF=inputs[0], numeric_BN=inputs[0], ragged={}, vectors={})
        logits = self.model.above(inputs, rows).logits
        if self._gives == "logits":
            return {name: logits[name] for name in self.outputs}
        found = self.model.objective.predict(logits, self._inputs.extras(x))
        return {name: found[name] for name in self.outputs}


def tensors_of(
    model: RankingModel, inputs: Inputs, batch: Batch, users: UserRows | None
) -> dict[str, Tensor]:
    """What a network that gives logits takes: the batch's tensors, then the tables."""
    tables = enumerate(model.tables_of_inputs())
    return {**inputs.of(batch, users), **{table_name(place): table for place, table in tables}}
