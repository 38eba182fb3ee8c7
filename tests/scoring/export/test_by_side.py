"""Rows read by side: the input that the input layer gives, whoever shares a user.

Shapes: N rows, R users.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch

from polyrank.data import Batch, Ragged
from polyrank.data.layout import IdColumn, Layout, NumericColumn, RaggedColumn, VectorColumn
from polyrank.layers import BySide, InputLayer
from polyrank.schema import Side
from polyrank.scoring.engines.base import UserRows, joined
from polyrank.scoring.export.network import Inputs

N, R, LENGTH, TABLE = 9, 4, 3, 50
SIDES: tuple[Side, ...] = ("context", "user", "item")


def _layout(list_side: Side, target: Side | None) -> Layout:
    return Layout(
        ids=tuple(IdColumn(name=f"id of {side}", side=side) for side in (*SIDES, "bias")),
        numerics=tuple(NumericColumn(name=f"number of {side}", side=side) for side in SIDES),
        ragged=(
            RaggedColumn(
                name="list",
                side=list_side,
                pooling="mean" if target is None else "attention",
                max_length=LENGTH,
                target=None if target is None else f"id of {target}",
            ),
        ),
        vectors=tuple(VectorColumn(name=f"v of {side}", side=side, dim=2) for side in SIDES),
        tasks=(),
        num_rows=TABLE,
        targets={},
    )


def _batch(rows: int, empty: bool) -> Batch:
    lengths = torch.randint(0, LENGTH + 1, (rows,)) * (not empty)
    return Batch(
        ids_BF=torch.randint(0, TABLE, (rows, 4)),
        numeric_BN=torch.randn(rows, 3),
        ragged={
            "list": Ragged(
                values_V=torch.randint(0, TABLE, (int(lengths.sum()),)), lengths_B=lengths
            )
        },
        vectors={f"v of {side}": torch.randn(rows, 2) for side in SIDES},
    )


@pytest.mark.parametrize(("list_side", "target"), list(product(SIDES, (None, *SIDES))))
@pytest.mark.parametrize("empty", [False, True], ids=["lists", "empty lists"])
def test_it_gives_what_the_input_layer_gives(
    list_side: Side, target: Side | None, empty: bool
) -> None:
    torch.manual_seed(0)
    layout = _layout(list_side, target)
    layer, inputs = InputLayer(layout, 4).eval(), Inputs(layout)
    rows, own = _batch(N, empty), _batch(R, empty)
    users = UserRows(batch=own, row_N=torch.randint(0, R, (N,)))
    full = joined(rows, users, layout)
    with torch.no_grad():
        want = layer(full)
        shared = BySide(layer, inputs.sided(inputs.of(rows, users))).rows()
        alone = BySide(layer, inputs.sided(inputs.of(full, None))).rows()
        given = BySide(layer, inputs.sided(inputs.of(full, None)), layer.table.weight * 2).rows()
    assert torch.allclose(shared, want, atol=1e-6)
    assert torch.allclose(alone, want, atol=1e-6)
    assert torch.allclose(given[:, :4], 2 * want[:, :4], atol=1e-6)


def test_no_feature_on_a_side_is_no_input() -> None:
    layout = _layout("item", None)
    bare = Layout(
        ids=layout.ids[2:3],
        numerics=(),
        ragged=(),
        vectors=(),
        tasks=(),
        num_rows=TABLE,
        targets={},
    )
    inputs, batch = Inputs(bare), _batch(N, empty=True)
    assert inputs.names == ("user_row", "ids")
    lone = Batch(ids_BF=batch.ids_BF[:, :1], numeric_BN=torch.zeros(N, 0), ragged={}, vectors={})
    layer = InputLayer(bare, 4)
    found = BySide(layer, inputs.sided(inputs.of(lone, None))).rows()
    assert torch.equal(found, layer(lone))
