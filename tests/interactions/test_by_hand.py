"""Each interaction against a slow version in plain loops, written from its paper's equations.

Shapes: D columns of one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polyrank.errors import ConfigError
from polyrank.interactions import DCNv2, MaskNet, NoInteraction, Transformer
from polyrank.interactions.transformer import Attended, fields_of
from polyrank.layers import Block, InputSpec

Row = list[float]
ROWS = 5


def _dice(module: nn.Module) -> nn.Module:
    """Every parameter drawn at random, so that no scale of 1 or shift of 0 hides anything."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.4)
    return module.eval()


def _rows(width: int) -> Tensor:
    torch.manual_seed(4)
    return torch.randn(ROWS, width)


def _agree(module: nn.Module, x_BD: Tensor, slow: Any) -> None:
    found = module(x_BD)
    for place in range(ROWS):
        expected = slow(x_BD[place].tolist())
        assert found[place].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def linear(layer: Any, x: Row) -> Row:
    bias = [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
    return [
        b + sum(w * value for w, value in zip(row, x, strict=True))
        for row, b in zip(layer.weight.tolist(), bias, strict=True)
    ]


def layer_norm(layer: Any, x: Row) -> Row:
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    return [
        scale * (value - mean) / sqrt(variance + 1e-5) + shift
        for value, scale, shift in zip(x, layer.weight.tolist(), layer.bias.tolist(), strict=True)
    ]


def relu(x: Row) -> Row:
    return [max(value, 0.0) for value in x]


def plus(x: Row, y: Row) -> Row:
    return [a + b for a, b in zip(x, y, strict=True)]


def times(x: Row, y: Row) -> Row:
    return [a * b for a, b in zip(x, y, strict=True)]


def mlp(layers: Any, x: Row) -> Row:
    first, second = layers.layers
    return linear(second, relu(linear(first, x)))


def spec(*fields: tuple[str, Any, int], width: int = 0) -> InputSpec:
    blocks, start = [], 0
    for name, side, size in fields:
        blocks.append(Block(name=name, side=side, start=start, stop=start + size))
        start += size
    return InputSpec(width=width or start, blocks=tuple(blocks))


def test_no_interaction_is_the_identity() -> None:
    x_BD = _rows(16)
    assert NoInteraction().build(InputSpec(width=16))(x_BD) is x_BD


@pytest.mark.parametrize("rank", [None, 2])
def test_dcn_v2(rank: int | None) -> None:
    block = _dice(DCNv2(num_layers=2, rank=rank).build(InputSpec(width=6)))
    layers: Any = block.cross.layers  # type: ignore[union-attr]

    def slow(x0: Row) -> Row:
        x = x0
        for layer in layers:
            product = linear(layer, x) if rank is None else linear(layer[1], linear(layer[0], x))
            x = plus(times(x0, product), x)
        return x

    _agree(block, _rows(6), slow)


@pytest.mark.parametrize("normed", [True, False])
def test_masknet(normed: bool) -> None:
    block = _dice(
        MaskNet(num_blocks=2, width=16, mask_width=16, input_norm=normed).build(InputSpec(width=6))
    )
    parts: Any = block.blocks

    def slow(x: Row) -> Row:
        out: Row = []
        for part in parts:
            value = layer_norm(part.norm, x) if normed else x
            out += layer_norm(part.out_norm, linear(part.hidden, times(value, mlp(part.mask, x))))
        return out

    _agree(block, _rows(6), slow)


def test_a_mask_starts_around_one_so_a_block_starts_as_a_layer_of_its_normed_input() -> None:
    torch.manual_seed(0)
    block: Any = MaskNet(num_blocks=1).build(InputSpec(width=16)).blocks[0]
    x_BD = 1e-4 * torch.randn(4, 16)
    assert torch.allclose(block.mask(x_BD), torch.ones(4, 16), atol=0.01)


def attention(queries: list[Row], keys: list[Row], values: list[Row]) -> list[Row]:
    """softmax(Q K^T / sqrt(d)) V, Vaswani et al., equation 1."""
    out = []
    for query in queries:
        scores = [sum(times(query, key)) / sqrt(len(query)) for key in keys]
        weights = [exp(score) / sum(exp(other) for other in scores) for score in scores]
        columns = zip(*values, strict=True)
        out.append([sum(w * v for w, v in zip(weights, column, strict=True)) for column in columns])
    return out


def multi_head(layer: Any, fields: list[Row]) -> list[Row]:
    width, heads = len(fields[0]), layer.num_heads
    packed = [linear(layer.queries_keys_values, field) for field in fields]
    out: list[Row] = [[] for _ in fields]
    for head in range(heads):
        size = width // heads
        q, k, v = (
            [row[part * width + head * size : part * width + (head + 1) * size] for row in packed]
            for part in range(3)
        )
        for place, found in enumerate(attention(q, k, v)):
            out[place] += found
    return [linear(layer.out, row) for row in out]


def encode(layer: Any, fields: list[Row]) -> list[Row]:
    attended = multi_head(layer, [layer_norm(layer.norm, field) for field in fields])
    fields = [plus(a, b) for a, b in zip(fields, attended, strict=True)]
    return [plus(f, mlp(layer.hidden, layer_norm(layer.hidden_norm, f))) for f in fields]


INPUTS = spec(
    ("user", "user", 16),
    ("tags", "user", 17),
    ("age", "user", 1),
    ("income", "user", 1),
    ("item", "item", 16),
    ("length", "item", 1),
    width=64,
)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_transformer(heads: int) -> None:
    block: Any = _dice(Transformer(num_heads=heads, hidden_width=16).build(INPUTS))
    _, tags, numbers, _, length = block.projections

    def slow(x: Row) -> Row:
        fields = [
            x[:16],
            linear(tags, x[16:33]),
            linear(numbers, x[33:35]),
            x[35:51],
            linear(length, x[51:52]),
        ]
        return [value for field in encode(block.layer, fields) for value in field]

    _agree(block, _rows(64), slow)


def test_the_layer_is_that_of_torch() -> None:
    """A second oracle: ``nn.TransformerEncoderLayer`` with the norms first."""
    block: Any = _dice(Transformer(hidden_width=32).build(spec(*_ids(3, 16))))
    theirs = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)
    ours = block.layer
    names = {
        "self_attn.in_proj_weight": ours.queries_keys_values.weight,
        "self_attn.in_proj_bias": ours.queries_keys_values.bias,
        "self_attn.out_proj.weight": ours.out.weight,
        "self_attn.out_proj.bias": ours.out.bias,
        "linear1.weight": ours.hidden.layers[0].weight,
        "linear1.bias": ours.hidden.layers[0].bias,
        "linear2.weight": ours.hidden.layers[1].weight,
        "linear2.bias": ours.hidden.layers[1].bias,
        "norm1.weight": ours.norm.weight,
        "norm1.bias": ours.norm.bias,
        "norm2.weight": ours.hidden_norm.weight,
        "norm2.bias": ours.hidden_norm.bias,
    }
    theirs.load_state_dict(names)
    x_BD = _rows(48)
    # In training mode, where it does not take a fused path of its own.
    expected = theirs.train()(x_BD.view(ROWS, 3, 16)).flatten(1)
    assert torch.allclose(block(x_BD), expected, atol=1e-5)


def _ids(count: int, width: int) -> Sequence[tuple[str, str, int]]:
    return [(f"id {place}", "user", width) for place in range(count)]


def test_numbers_of_one_side_are_one_field_and_keep_its_place() -> None:
    fields = fields_of(INPUTS.blocks)
    found = [(field.name, field.side, field.start, field.stop) for field in fields]
    assert found == [
        ("user", "user", 0, 16),
        ("tags", "user", 16, 33),
        ("age + income", "user", 33, 35),
        ("item", "item", 35, 51),
        ("length", "item", 51, 52),
    ]


def test_neighbouring_numbers_of_two_sides_stay_apart() -> None:
    blocks = spec(("age", "user", 1), ("length", "item", 1)).blocks
    assert fields_of(blocks) == blocks


def test_each_field_has_a_block_above() -> None:
    block = Transformer().build(INPUTS)
    found = [(b.name, b.side, b.start, b.stop) for b in block.outputs.blocks]
    assert found == [
        ("user", "user", 0, 16),
        ("tags", "user", 16, 32),
        ("age + income", "user", 32, 48),
        ("item", "item", 48, 64),
        ("length", "item", 64, 80),
    ]
    assert block.outputs.width == 80


@pytest.mark.parametrize(
    ("fields", "width", "expected"),
    [
        (_ids(2, 16), None, 16),
        (_ids(2, 8), None, 16),
        (_ids(2, 20), None, 32),
        ([*_ids(2, 32), ("age", "user", 1)], None, 32),
        (_ids(2, 16), 40, 48),
    ],
)
def test_a_field_is_as_wide_as_most_and_a_multiple_of_16(
    fields: Any, width: int | None, expected: int
) -> None:
    block: Attended = Transformer(width=width).build(spec(*fields, width=80))
    assert {b.stop - b.start for b in block.outputs.blocks} == {expected}


def test_a_field_of_the_common_width_is_not_projected() -> None:
    block = Transformer().build(INPUTS)
    kinds = [type(module) for module in block.projections]
    assert kinds == [nn.Identity, nn.Linear, nn.Linear, nn.Identity, nn.Linear]


def test_the_order_of_the_fields_is_that_of_the_output_and_nothing_else() -> None:
    block: Any = _dice(Transformer().build(spec(*_ids(3, 16))))
    x_BFC = _rows(48).view(ROWS, 3, 16)
    order = [2, 0, 1]
    straight = block(x_BFC.flatten(1)).view(ROWS, 3, 16)
    assert torch.allclose(block(x_BFC[:, order].flatten(1)).view(ROWS, 3, 16), straight[:, order])


def test_without_blocks_there_is_nothing_to_attend_to() -> None:
    with pytest.raises(ConfigError, match="which columns are whose") as caught:
        Transformer().build(InputSpec(width=32))
    assert caught.value.where == "model.interaction"


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="width of a field, 16, got 3") as caught:
        Transformer(num_heads=3).build(INPUTS)
    assert caught.value.hint == "Take 2, or another `width`."
    with pytest.raises(ConfigError, match="got 40") as caught:
        Transformer(num_heads=40).build(INPUTS)
    assert caught.value.hint == "Take 16, or another `width`."


def test_the_fields_are_added_to_in_single_precision() -> None:
    block = Transformer().build(INPUTS)
    with torch.autocast("cpu", torch.bfloat16):
        assert block(_rows(64).bfloat16()).dtype == torch.float32
        assert MaskNet().build(INPUTS)(_rows(64).bfloat16()).dtype == torch.float32


def test_odd_widths_are_rounded_up() -> None:
    block: Any = MaskNet(num_blocks=2, width=17, mask_width=5).build(INPUTS)
    assert block.outputs.width == 2 * 32
    assert block.blocks[0].mask.layers[0].out_features == 16
    layer: Any = Transformer(hidden_width=20).build(INPUTS).layer
    assert layer.hidden.layers[0].out_features == 32
