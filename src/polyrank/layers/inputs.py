"""From an encoded batch to the one input of everything above.

Shapes: B rows, F id columns, N numeric columns, V entries of a ragged feature in all rows, D width
of the table, W width of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p

import torch
from torch import Tensor, nn

from polyrank.data.batch import Batch
from polyrank.data.layout import Layout, RaggedColumn
from polyrank.layers.padding import padded_width
from polyrank.layers.pooling import TargetAttention, mean_pool
from polyrank.layers.table import FlatTable
from polyrank.schema import Side

MAX_LENGTH = 2.0
"""What a list of ``max_length`` entries stands as, about as far out as other numbers."""
SIDES: tuple[Side, ...] = ("user", "item", "context")
"""Those that are read, in their order."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """The columns [start, stop) of the input that one feature fills."""

    name: str
    side: Side
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a module that reads the input is told of it."""

    width: int
    blocks: tuple[Block, ...] = ()
    """Which columns are which feature's; empty where an interaction has mixed them."""


class InputLayer(nn.Module):
    """Embeds ids, pools ragged features and lays everything side by side.

    The columns stand by side (user, item, context), so the user's part of the first product can be
    computed once a request; within a side come ids, ragged features, vectors and numbers, each in
    the layout's order, and at the very end zeros up to a multiple of 16 columns. A history pooled
    by attention to a target of another side belongs to neither and stands with the context.
    Pre-computed vectors and numbers enter as they are. Behind a pooled feature stands
    log(1 + n) of its n entries, stretched to [-2, 2]: a mean forgets how long the list was, and how
    often someone liked says most about whether they will again.

    All ids of a batch are one look-up in the flat table, hence one sparse gradient. Features on the
    side ``bias`` are not read.

    Args:
        layout: What the batches hold.
        dim: Width D of the table.

    Raises:
        ConfigError: ``dim`` below 1.
    """

    _id_order: Tensor | None
    _numeric_order: Tensor | None

    blocks: tuple[Block, ...]
    """Where each feature stands; the padding belongs to none."""
    width: int
    """W, a multiple of 16."""

    def __init__(self, layout: Layout, dim: int = 16) -> None:
        super().__init__()
        self.table = FlatTable(layout.num_rows, dim)
        self.ragged_columns = layout.ragged
        self.attention = nn.ModuleList(
            TargetAttention(dim, max_length=column.max_length)
            for column in layout.ragged
            if column.pooling == "attention"
        )
        self._id_columns = layout.ids
        places = {column.name: place for place, column in enumerate(layout.ids)}
        self._targets = [
            places[_target(column)] for column in layout.ragged if column.pooling == "attention"
        ]
        self._lay_out(layout, dim)

    def _lay_out(self, layout: Layout, dim: int) -> None:
        """Fix the order of the columns and how many of each kind a side has."""
        id_side = {column.name: column.side for column in layout.ids}
        self._ragged_sides = [_side(column, id_side) for column in layout.ragged]
        ids = [column.side for column in layout.ids]
        numerics = [column.side for column in layout.numerics]
        self._id_counts = [ids.count(side) for side in SIDES]
        self._numeric_counts = [numerics.count(side) for side in SIDES]
        self._vectors = [
            [column.name for column in layout.vectors if column.side == side] for side in SIDES
        ]
        self.register_buffer("_id_order", _order(ids), persistent=False)
        self.register_buffer("_numeric_order", _order(numerics), persistent=False)
        widths = [
            *((column.name, column.side, dim) for column in layout.ids),
            *(
                (column.name, side, dim + 1)
                for column, side in zip(layout.ragged, self._ragged_sides, strict=True)
            ),
            *((column.name, column.side, column.dim) for column in layout.vectors),
            *((column.name, column.side, 1) for column in layout.numerics),
        ]
        self.blocks = _blocks(widths)
        self.width = padded_width(self.blocks[-1].stop if self.blocks else 0)

    # What reading by side must know.

    @property
    def ragged_names(self) -> tuple[str, ...]:
        """Of the lists, in the layout's order."""
        return tuple(column.name for column in self.ragged_columns)

    def ragged_of(self, side: Side) -> tuple[str, ...]:
        """The lists whose pooled columns stand with ``side``."""
        found = zip(self.ragged_names, self._ragged_sides, strict=True)
        return tuple(name for name, own in found if own == side)

    def side_of(self, column: RaggedColumn) -> Side:
        """Where its pooled columns stand."""
        return self._ragged_sides[self.ragged_columns.index(column)]

    def vectors_of(self, side: Side) -> Sequence[str]:
        """The vectors of ``side``."""
        return self._vectors[SIDES.index(side)]

    def counts_of(self, side: Side) -> tuple[int, int]:
        """How many columns of ids and of numbers ``side`` has."""
        place = SIDES.index(side)
        return self._id_counts[place], self._numeric_counts[place]

    def target_of(self, column: RaggedColumn) -> tuple[bool, int]:
        """Whether the id that asks is the user's, and its place among the ids of the user's side or
        among those of the item's and then the context's."""
        target = _target(column)
        user = [own.name for own in self._id_columns if own.side == "user"]
        rest = [own.name for side in SIDES[1:] for own in self._id_columns if own.side == side]
        return (True, user.index(target)) if target in user else (False, rest.index(target))

    @property
    def spec(self) -> InputSpec:
        """What stands above is told."""
        return InputSpec(width=self.width, blocks=self.blocks)

    def forward(self, batch: Batch) -> Tensor:
        """The input, (B, W): float32, or the autocast precision under autocast.

        The cast is made here, once, instead of by everyone who reads the input.
        """
        ids_BX, ragged = self._look_up(batch)
        numbers = _by_side(_ordered(batch.numeric_BN, self._numeric_order), self._numeric_counts)
        pieces: list[Tensor] = []
        for place, side in enumerate(SIDES):
            pieces.append(ids_BX[place])
            pieces += [x for x, own in zip(ragged, self._ragged_sides, strict=True) if own == side]
            pieces += [batch.vectors[name] for name in self._vectors[place]]
            pieces.append(numbers[place])
        missing = self.width - sum(piece.shape[1] for piece in pieces)
        pieces.append(batch.numeric_BN.new_zeros(len(batch), missing))
        x_BW = torch.cat([piece for piece in pieces if piece.shape[1]], dim=1)
        device = x_BW.device.type
        if torch.is_autocast_enabled(device):
            return x_BW.to(torch.get_autocast_dtype(device))
        return x_BW

    def _look_up(self, batch: Batch) -> tuple[Sequence[Tensor], list[Tensor]]:
        """The embedded id columns by side, and each ragged feature pooled."""
        lists = [batch.ragged[column.name].values_V for column in self.ragged_columns]
        # A target is looked up again rather than selected: cheaper in the backward pass.
        targets = [batch.ids_BF[:, place] for place in self._targets]
        ids = [_ordered(batch.ids_BF, self._id_order).reshape(-1), *lists, *targets]
        rows = self.table(torch.cat(ids) if len(ids) > 1 else ids[0])
        fields, *others = rows.split([len(part) for part in ids]) if len(ids) > 1 else (rows,)
        dim = self.table.dim
        ids_BX = _by_side(
            fields.view(len(batch), sum(self._id_counts) * dim),
            [count * dim for count in self._id_counts],
        )
        return ids_BX, self._pool(batch, others)

    def _pool(self, batch: Batch, rows: Sequence[Tensor]) -> list[Tensor]:
        """(B, D + 1) of each ragged feature; ``rows`` holds their entries, then the targets."""
        pooled: list[Tensor] = []
        asking = iter(zip(self.attention, rows[len(self.ragged_columns) :], strict=True))
        for column, values_VD in zip(self.ragged_columns, rows, strict=False):
            lengths_B = batch.ragged[column.name].lengths_B
            if column.pooling == "mean":
                pooled_BD = mean_pool(values_VD, lengths_B)
            else:
                attend, target_BD = next(asking)
                pooled_BD = attend(values_VD, lengths_B, target_BD)
            pooled.append(
                torch.cat([pooled_BD, length_column(lengths_B.to(pooled_BD.dtype), column)], dim=1)
            )
        return pooled


def length_column(lengths_B: Tensor, column: RaggedColumn) -> Tensor:
    """(B, 1): log(1 + n) from -MAX_LENGTH for no entry to MAX_LENGTH for the most."""
    share_B = torch.log1p(lengths_B) / log1p(column.max_length)
    return (MAX_LENGTH * (2 * share_B - 1))[:, None]


def _side(column: RaggedColumn, id_side: dict[str, Side]) -> Side:
    if column.pooling == "mean" or id_side[_target(column)] == column.side:
        return column.side
    return "context"


def _target(column: RaggedColumn) -> str:
    assert column.target is not None, "attention asks from an id column"
    return column.target


def _order(sides: Sequence[Side]) -> Tensor | None:
    """The columns that are read, by side; null where they stand so already.

    Never on ``meta``, where a bundle builds a network to be filled: no file holds them.
    """
    read = (column for column, side in enumerate(sides) if side in SIDES)
    order = sorted(read, key=lambda column: SIDES.index(sides[column]))
    return None if order == list(range(len(sides))) else torch.tensor(order, device="cpu")


def _ordered(columns_BX: Tensor, order: Tensor | None) -> Tensor:
    return columns_BX if order is None else columns_BX.index_select(1, order)


def _by_side(columns_BX: Tensor, counts: list[int]) -> list[Tensor]:
    return list(torch.split(columns_BX, counts, dim=1))


def _blocks(widths: Sequence[tuple[str, Side, int]]) -> tuple[Block, ...]:
    blocks: list[Block] = []
    start = 0
    for wanted in SIDES:
        for name, side, width in widths:
            if side == wanted:
                blocks.append(Block(name=name, side=side, start=start, stop=start + width))
                start += width
    return tuple(blocks)
