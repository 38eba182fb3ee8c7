"""The input of rows that share users: what is the user's own is looked up and pooled once a user.

What this gives is what ``InputLayer.forward`` gives for the same rows. It is made to be exported:
only operations that other runtimes have, and whatever is the user's own reaches the rows by one
``index_select`` of the row's user.

Shapes: N rows, R users, F id columns, V entries of a list in all rows, P entries of a list in all
rows, that of a user once for each of its rows, D width of the table, W width of the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from polyrank.data.batch import Ragged
from polyrank.data.layout import RaggedColumn
from polyrank.layers.inputs import SIDES, InputLayer, length_column
from polyrank.layers.pooling import TargetAttention
from polyrank.schema import Side


@dataclass(frozen=True, kw_only=True)
class Sided:
    """Encoded rows, the user's side apart. Tensors of features that are not there are null."""

    user_row_N: Tensor
    """int64, the user of each row."""
    user_ids_RF: Tensor | None
    """The id columns of the user's side, in the layout's order."""
    user_numbers_RX: Tensor | None
    ids_NF: Tensor | None
    """Those of the item's side, then those of the context's."""
    numbers_NX: Tensor | None
    ragged: Mapping[str, Ragged]
    """By feature, of R users or N rows by its side."""
    vectors: Mapping[str, Tensor]
    """The same."""


class BySide:
    """One input layer's reading of sided rows.

    Args:
        layer: It.
        x: The rows.
        table: Its embedding table (rows of it, D), instead of its own.
    """

    def __init__(self, layer: InputLayer, x: Sided, table: Tensor | None = None) -> None:
        self._layer, self._x = layer, x
        self._table = layer.table.weight if table is None else table
        self._pooled = dict(zip(layer.ragged_names, self._pool(), strict=True))

    def rows(self) -> Tensor:
        """The input, (N, W)."""
        user = self._side("user")
        rest = [piece for side in SIDES[1:] for piece in self._side(side)]
        shared = [torch.cat(user, dim=1).index_select(0, self._x.user_row_N)] if user else []
        pieces = [*shared, *rest]
        missing = self._layer.width - sum(piece.shape[1] for piece in pieces)
        if missing:
            pieces.append(pieces[0].new_zeros(self._x.user_row_N.shape[0], missing))
        return torch.cat(pieces, dim=1)

    def _embed(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self._table)

    def _side(self, side: Side) -> list[Tensor]:
        """What one side brings, (R, ...) of the user's and (N, ...) of others."""
        ids, numbers = self._columns(side)
        pieces = [] if ids is None else [self._embed(ids).flatten(1)]
        pieces += [self._pooled[name] for name in self._layer.ragged_of(side)]
        pieces += [self._x.vectors[name] for name in self._layer.vectors_of(side)]
        return pieces if numbers is None else [*pieces, numbers]

    def _columns(self, side: Side) -> tuple[Tensor | None, Tensor | None]:
        x = self._x
        if side == "user":
            return x.user_ids_RF, x.user_numbers_RX
        items, own = self._layer.counts_of("item"), self._layer.counts_of(side)
        start = (0, 0) if side == "item" else items
        ids, numbers = (
            None if both is None or not size else both.narrow(1, first, size)
            for both, first, size in zip((x.ids_NF, x.numbers_NX), start, own, strict=True)
        )
        return ids, numbers

    def _pool(self) -> list[Tensor]:
        """Each list pooled, with its length."""
        attention = iter(self._layer.attention)
        pooled = []
        for column in self._layer.ragged_columns:
            own = self._x.ragged[column.name]
            values_VD = self._embed(own.values_V)
            if column.pooling == "mean":
                pooled_BD = _mean(values_VD, own.lengths_B)
            else:
                unit = next(attention)
                assert isinstance(unit, TargetAttention)
                pooled_BD = self._attend(unit, column, values_VD, own.lengths_B)
            lengths_B = own.lengths_B
            if self._spreads(column):
                lengths_B = lengths_B.index_select(0, self._x.user_row_N)
            pooled.append(torch.cat([pooled_BD, _length(lengths_B, column)], dim=1))
        return pooled

    def _spreads(self, column: RaggedColumn) -> bool:
        """Whether it is the user's list, asked by each row."""
        return column.side == "user" and self._layer.side_of(column) != "user"

    def _attend(
        self, unit: TargetAttention, column: RaggedColumn, values_VD: Tensor, lengths_B: Tensor
    ) -> Tensor:
        """Each row's sum of the entries that it asks, of a user's list looked up once."""
        target_BD, of_user = self._target(column)
        start_B = torch.cumsum(lengths_B, 0) - lengths_B
        if self._spreads(column):
            lengths_B = lengths_B.index_select(0, self._x.user_row_N)
            start_B = start_B.index_select(0, self._x.user_row_N)
        elif of_user and column.side != "user":
            target_BD = target_BD.index_select(0, self._x.user_row_N)
        place_L = torch.arange(column.max_length, device=lengths_B.device)
        row_P, place_P = (place_L < lengths_B[:, None]).nonzero().unbind(1)
        entry_PD = values_VD.index_select(0, start_B.index_select(0, row_P) + place_P)
        target_PD = target_BD.index_select(0, row_P)
        pair = (target_PD, entry_PD, target_PD - entry_PD, target_PD * entry_PD)
        weight_P1 = unit.unit(torch.cat(pair, dim=1))[:, :1]
        return _sum(entry_PD * weight_P1, row_P, lengths_B)

    def _target(self, column: RaggedColumn) -> tuple[Tensor, bool]:
        """The embedded id that asks, and whether it is the user's."""
        of_user, place = self._layer.target_of(column)
        ids = self._x.user_ids_RF if of_user else self._x.ids_NF
        assert ids is not None, "attention asks from an id column"
        return self._embed(ids.select(1, place)), of_user


def _length(lengths_B: Tensor, column: RaggedColumn) -> Tensor:
    """As ``length_column``, read off those of all lengths: a runtime's logarithm may give another
    last bit at the end of a vector than within it."""
    every_L = torch.arange(column.max_length + 1, device=lengths_B.device, dtype=torch.float32)
    places_B = lengths_B.clamp(max=column.max_length)
    return length_column(every_L, column).index_select(0, places_B)


def _mean(values_VD: Tensor, lengths_B: Tensor) -> Tensor:
    """As ``mean_pool``."""
    count_B1 = lengths_B.clamp(min=1).to(values_VD.dtype)[:, None]
    return _sum(values_VD, _rows_of(values_VD, lengths_B), lengths_B) / count_B1


def _sum(values_VD: Tensor, row_V: Tensor, lengths_B: Tensor) -> Tensor:
    """Each row's entries added up, one after the other."""
    zeros_BD = values_VD.new_zeros(lengths_B.shape[0], values_VD.shape[1])
    return zeros_BD.scatter_add(0, row_V[:, None].expand(-1, values_VD.shape[1]), values_VD)


def _rows_of(values_VD: Tensor, lengths_B: Tensor) -> Tensor:
    """(V,) the row of each entry: how many rows start at it or before, less one."""
    start_B = torch.cumsum(lengths_B, 0) - lengths_B
    started_V = start_B.new_zeros(values_VD.shape[0] + 1)
    started_V = started_V.scatter_add(0, start_B, torch.ones_like(start_B))
    return torch.cumsum(started_V, 0)[:-1] - 1
