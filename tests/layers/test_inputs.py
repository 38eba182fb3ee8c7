"""The input layer against plain loops over rows and features."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from polyrank.data.batch import Batch
from polyrank.data.layout import IdColumn, Layout, NumericColumn
from polyrank.errors import ConfigError
from polyrank.layers import InputLayer, TargetAttention
from tests.layers.helpers import batch, layout, only

DIM = 4


def built(of: Layout | None = None, seed: int = 0) -> InputLayer:
    torch.manual_seed(seed)
    layer = InputLayer(of or layout(), DIM).double()
    with torch.no_grad():
        layer.table.weight.mul_(50.0)
    return layer


def lists(rows: Batch, name: str) -> list[list[int]]:
    ragged = rows.ragged[name]
    return [part.tolist() for part in ragged.values_V.split(ragged.lengths_B.tolist())]


def expected(layer: InputLayer, of: Layout, rows: Batch) -> dict[str, Tensor]:
    """Every feature's columns, from the definitions; dense gradients."""
    weight = layer.table.weight
    result = {column.name: weight[rows.ids_BF[:, f]] for f, column in enumerate(of.ids)}
    attention = iter(layer.attention)
    for column in of.ragged:
        pooled = []
        attend = next(attention) if column.pooling == "attention" else None
        for row, ids in enumerate(lists(rows, column.name)):
            entries = weight[torch.tensor(ids, dtype=torch.int64)]
            if attend is not None and column.target is not None:
                assert isinstance(attend, TargetAttention)
                target = result[column.target][row : row + 1]
                entries = (
                    entries * attend.weights(entries, torch.tensor([len(ids)]), target)[:, None]
                )
                pooled.append(entries.sum(0))
            else:
                pooled.append(entries.sum(0) / max(1, len(ids)))
            length = 4 * math.log(1 + len(ids), 1 + column.max_length) - 2
            pooled[-1] = torch.cat([pooled[-1], torch.tensor([length], dtype=weight.dtype)])
        result[column.name] = torch.stack(pooled)
    result |= dict(rows.vectors)
    result |= {c.name: rows.numeric_BN[:, n : n + 1] for n, c in enumerate(of.numerics)}
    return result


def test_every_feature_stands_in_its_block() -> None:
    layer, rows = built(), batch(9, dtype=torch.float64)
    x_BW = layer(rows)
    features = expected(layer, layout(), rows)
    assert x_BW.shape == (9, layer.width)
    assert {block.name for block in layer.blocks} == set(features)
    for block in layer.blocks:
        torch.testing.assert_close(x_BW[:, block.start : block.stop], features[block.name])
        assert features[block.name].any()


def test_blocks_stand_by_side_without_gaps_and_fill_the_width() -> None:
    layer = built()
    order = [(block.side, block.name) for block in layer.blocks]
    assert order == [
        ("user", "user"),
        ("user", "liked"),
        ("user", "taste"),
        ("user", "age"),
        ("user", "age:missing"),
        ("item", "item"),
        ("item", "author"),
        ("item", "tags"),
        ("item", "related"),
        ("item", "picture"),
        ("item", "length"),
        ("context", "hour"),
        ("context", "watched"),
        ("context", "load"),
    ]
    starts = [block.start for block in layer.blocks]
    stops = [block.stop for block in layer.blocks]
    assert starts == [0, *stops[:-1]]
    assert stops[-1] == 4 * DIM + 4 * (DIM + 1) + 5 + 3 + 4
    assert layer.width == 48


def test_the_users_columns_depend_on_the_user_alone() -> None:
    layer, rows = built(), batch(6, dtype=torch.float64)
    other = batch(6, seed=1, dtype=torch.float64)
    mixed = dataclasses.replace(
        rows,
        ids_BF=torch.cat([other.ids_BF[:, :2], rows.ids_BF[:, 2:3], other.ids_BF[:, 3:]], 1),
        numeric_BN=torch.stack(
            [source.numeric_BN[:, n] for n, source in enumerate((other, rows, other, rows))], 1
        ),
        ragged={**other.ragged, "liked": rows.ragged["liked"], "watched": rows.ragged["watched"]},
        vectors={"taste": rows.vectors["taste"], "picture": other.vectors["picture"]},
    )
    stop = max(block.stop for block in layer.blocks if block.side == "user")
    ours, theirs = layer(rows), layer(mixed)
    assert torch.equal(ours[:, :stop], theirs[:, :stop])
    assert not torch.equal(ours[:, stop:], theirs[:, stop:])


def test_one_look_up_gives_one_sparse_gradient_equal_to_the_dense_one() -> None:
    layer, rows = built(), batch(9, dtype=torch.float64)
    x_BW = layer(rows)
    scale = torch.randn_like(x_BW)
    (x_BW * scale).sum().backward()
    grad = layer.table.weight.grad
    assert grad is not None
    assert grad.is_sparse
    ids = rows.ids_BF.numel() + sum(r.values_V.numel() for r in rows.ragged.values())
    assert grad._nnz() == ids + 2 * len(rows)  # The targets of the two histories.
    features = expected(layer, layout(), rows)
    total = sum(
        ((features[b.name] * scale[:, b.start : b.stop]).sum() for b in layer.blocks),
        torch.zeros((), dtype=torch.float64),
    )
    learned = [layer.table.weight, *layer.attention.parameters()]
    wanted = torch.autograd.grad(total, learned)
    torch.testing.assert_close(grad.to_dense(), wanted[0])
    for parameter, dense in zip(layer.attention.parameters(), wanted[1:], strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, dense)


def test_no_rows_give_no_rows() -> None:
    assert built()(batch(0, dtype=torch.float64)).shape == (0, 48)


def test_ids_in_order_and_nothing_else() -> None:
    of = only(ids=[IdColumn(name=name, side="item") for name in "abcd"], num_rows=20)
    layer, rows = built(of), batch(5, of=of)
    assert layer.width == 16
    assert torch.equal(layer(rows), layer.table.weight[rows.ids_BF].view(5, 16).to(torch.float64))


def test_numbers_and_nothing_else() -> None:
    of = only(
        numerics=[
            NumericColumn(name="a", side="context"),
            NumericColumn(name="b", side="user"),
        ]
    )
    layer, rows = InputLayer(of, DIM), batch(5, of=of)
    x_BW = layer(rows)
    assert layer.width == 16
    assert torch.equal(x_BW[:, :2], rows.numeric_BN.flip(1))
    assert [block.name for block in layer.blocks] == ["b", "a"]
    assert not x_BW[:, 2:].any()


def test_the_state_holds_what_is_learned_and_nothing_else() -> None:
    assert set(built().state_dict()) == {name for name, _ in built().named_parameters()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_precision_is_the_one_of_autocast(dtype: torch.dtype) -> None:
    layer, rows = built().float(), batch(9)
    exact = layer(rows)
    assert exact.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        x_BW = layer(rows)
    assert x_BW.dtype == dtype
    torch.testing.assert_close(x_BW.float(), exact, rtol=0.03, atol=0.03)
    x_BW.float().sum().backward()
    grad = layer.table.weight.grad
    assert grad is not None
    assert grad.dtype == torch.float32


def test_the_same_seed_gives_the_same_weights() -> None:
    ours, theirs = built(seed=3).state_dict(), built(seed=3).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_an_impossible_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="`dim` must be at least 1, got 0"):
        InputLayer(layout(), 0)
