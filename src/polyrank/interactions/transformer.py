"""One transformer encoder layer over the fields of the input: each feature looks at the others.

Vaswani et al., Attention is all you need, NeurIPS 2017; with the norms before each branch (Xiong et
al., ICML 2020).

Shapes: B rows, D width of the input, F fields, C width of a field, N heads, K = C / N.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from polyrank.errors import ConfigError
from polyrank.interactions.base import Interaction, InteractionConfig
from polyrank.layers import MLP, Block, InputSpec, padded_width

START = 0.02
"""Standard deviation of the initial weights: what a branch adds is about as large as a row of the
embedding table, so no branch drowns what it is added to."""
_WHERE = "model.interaction"


class EncoderLayer(nn.Module):
    """y = x + W_o attention(LN(x)), then y + W_2 relu(W_1 LN(y)), for a fixed number of fields.

    The fields of one row are all that attends to each other, and each head of each row is a product
    of its own: a row's bits do not depend on the rows beside it. Weights start as N(0, 0.02^2).
    """

    def __init__(self, num_fields: int, width: int, num_heads: int, hidden_width: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.hidden_norm = nn.LayerNorm(width)
        self.hidden = MLP(width, (hidden_width, width), linear_last=True)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=START)
                nn.init.zeros_(module.bias)
        self._told = f"{num_fields} × {width}, heads {num_heads}, hidden {hidden_width}"
        of_a_field = 4 * width**2 + 2 * width * hidden_width
        self.multiply_adds = num_fields * (of_a_field + 2 * num_fields * width)

    def extra_repr(self) -> str:
        """What attends to what, for ``print`` and ``polyrank explain``."""
        return self._told

    def forward(self, x_BFC: Tensor) -> Tensor:
        """(B, F, C) to (B, F, C)."""
        x_BFC = x_BFC + self._attend(self.norm(x_BFC))
        hidden_BFC: Tensor = self.hidden(self.hidden_norm(x_BFC))
        return x_BFC + hidden_BFC

    def _attend(self, x_BFC: Tensor) -> Tensor:
        parts_BFC = self.queries_keys_values(x_BFC).chunk(3, dim=2)
        queries, keys, values = (
            part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in parts_BFC
        )
        heads_BNFK = F.scaled_dot_product_attention(queries, keys, values)
        out_BFC: Tensor = self.out(heads_BNFK.transpose(1, 2).flatten(2))
        return out_BFC


class Attended(Interaction):
    """Fields as tokens of one width, an encoder layer, and the fields side by side again."""

    def __init__(self, inputs: InputSpec, config: Transformer) -> None:
        super().__init__()
        fields = fields_of(inputs.blocks)
        width = config.field_width(fields)
        self._places = [slice(field.start, field.stop) for field in fields]
        self.projections = nn.ModuleList(_projection(_width(field), width) for field in fields)
        hidden_width = padded_width(config.hidden_width or 4 * width)
        self.layer = EncoderLayer(len(fields), width, config.num_heads, hidden_width)
        self.outputs = InputSpec(
            width=len(fields) * width,
            blocks=tuple(
                Block(
                    name=field.name,
                    side=field.side,
                    start=place * width,
                    stop=(place + 1) * width,
                )
                for place, field in enumerate(fields)
            ),
        )

    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, D) to (B, F * C), in at least float32."""
        pieces = [
            project(x_BD[:, place])
            for place, project in zip(self._places, self.projections, strict=True)
        ]
        x_BFC = torch.stack(pieces, dim=1)
        out_BFC: Tensor = self.layer(x_BFC.to(torch.promote_types(x_BFC.dtype, torch.float32)))
        return out_BFC.flatten(1)


class Transformer(InteractionConfig):
    """One encoder layer over field embeddings before sharing (Vaswani et al., NeurIPS 2017).

    A field is a feature; the numeric columns of a side together are one. Fields of another width
    than ``width`` are brought to it by a linear layer each. There are no positions: its own
    embeddings or linear layer tell a field from the others. The norms stand before the branches
    (Xiong et al., ICML 2020), so that the fields themselves are kept below what is added.
    """

    kind: Literal["transformer"] = "transformer"
    width: PositiveInt | None = None
    """Of a field, rounded up to a multiple of 16; null: the width that most fields have."""
    num_heads: PositiveInt = 2
    """Heads of the attention; they divide the width of a field."""
    hidden_width: PositiveInt | None = None
    """Of the feed-forward branch, rounded up to a multiple of 16; null: 4 times a field's."""

    def build(self, inputs: InputSpec) -> Attended:
        """The layer; each field keeps a block of its own above it."""
        if not inputs.blocks:
            raise ConfigError(
                "a transformer attends over features, and the input does not say which columns are "
                "whose",
                where=_WHERE,
                hint="Put it directly on the input layer, or take dcn_v2 or masknet.",
            )
        return Attended(inputs, self)

    def field_width(self, fields: Sequence[Block]) -> int:
        """The width of a field.

        Raises:
            ConfigError: The heads do not divide it.
        """
        wanted = self.width
        if wanted is None:
            wanted = Counter(map(_width, fields)).most_common(1)[0][0]
        width = padded_width(wanted)
        if width % self.num_heads:
            raise ConfigError(
                f"`num_heads` must divide the width of a field, {width}, got {self.num_heads}",
                where=f"{_WHERE}.num_heads",
                hint=f"Take {_divisor(width, self.num_heads)}, or another `width`.",
            )
        return width


def fields_of(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """The blocks, but neighbours of one column on one side, which are numbers, as one."""
    fields: list[Block] = []
    for (side, number), group in groupby(blocks, lambda block: (block.side, _width(block) == 1)):
        found = list(group)
        if number:
            name = " + ".join(block.name for block in found)
            found = [Block(name=name, side=side, start=found[0].start, stop=found[-1].stop)]
        fields += found
    return tuple(fields)


def _width(block: Block) -> int:
    return block.stop - block.start


def _divisor(width: int, most: int) -> int:
    return max(heads for heads in range(1, min(most, width) + 1) if width % heads == 0)


def _projection(before: int, after: int) -> nn.Module:
    if before == after:
        return nn.Identity()
    layer = nn.Linear(before, after)
    nn.init.normal_(layer.weight, std=before**-0.5)
    nn.init.zeros_(layer.bias)
    return layer
