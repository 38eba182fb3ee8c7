"""The laws of every registered interaction.

Shapes: B rows, D width.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from polyrank.interactions import INTERACTIONS, Interaction, InteractionConfig
from polyrank.layers import WIDTH_MULTIPLE, Block, InputSpec, cost_of, pad_rows
from polyrank.schema import Side, parse

CASES: dict[str, list[dict[str, Any]]] = {
    "none": [{}],
    "dcn_v2": [{}, {"num_layers": 1, "rank": 3}],
    "masknet": [
        {},
        {"num_blocks": 1, "width": 20, "mask_width": 5},
        {"num_blocks": 3, "input_norm": False},
    ],
    "transformer": [{}, {"width": 24, "num_heads": 4, "hidden_width": 20}, {"num_heads": 1}],
}
FIELDS: tuple[tuple[str, Side, int], ...] = (
    ("user", "user", 16),
    ("history", "user", 17),
    ("age", "user", 1),
    ("age:missing", "user", 1),
    ("item", "item", 16),
    ("picture", "item", 5),
    ("length", "item", 1),
    ("hour", "context", 16),
)


def _inputs() -> InputSpec:
    """As an input layer lays features out: numbers last on each side, zeros at the end."""
    blocks, start = [], 0
    for name, side, width in FIELDS:
        blocks.append(Block(name=name, side=side, start=start, stop=start + width))
        start += width
    return InputSpec(width=80, blocks=tuple(blocks))


INPUTS = _inputs()
ALL = [(kind, place) for kind, cases in CASES.items() for place in range(len(cases))]


def test_every_interaction_is_under_contract() -> None:
    assert set(CASES) == set(INTERACTIONS)


@pytest.fixture(params=ALL, ids=lambda case: f"{case[0]}-{case[1]}")
def config(request: pytest.FixtureRequest) -> InteractionConfig:
    kind, place = request.param
    return parse(INTERACTIONS[kind], {"kind": kind, **CASES[kind][place]})


def _build(config: InteractionConfig) -> Interaction:
    torch.manual_seed(0)
    return config.build(INPUTS).eval()


def _rows(rows: int) -> Tensor:
    torch.manual_seed(1)
    x_BD = torch.randn(rows, INPUTS.width)
    x_BD[:, INPUTS.blocks[-1].stop :] = 0.0
    return x_BD


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_the_output_is_as_wide_as_it_says(config: InteractionConfig, rows: int) -> None:
    block = _build(config)
    assert block(_rows(rows)).shape == (rows, block.outputs.width)
    assert block.outputs.width % WIDTH_MULTIPLE == 0


def test_the_blocks_of_the_output_do_not_overlap_and_keep_names_and_sides(
    config: InteractionConfig,
) -> None:
    blocks, end = _build(config).outputs.blocks, 0
    sides = {name: side for name, side, _ in FIELDS}
    for block in blocks:
        assert end <= block.start < block.stop <= _build(config).outputs.width
        end = block.stop
        for name in block.name.split(" + "):
            assert block.side == sides.pop(name)
    assert not blocks or not sides


@pytest.mark.parametrize("rows", [0, 1, 64])
def test_gradients_are_finite_everywhere_and_every_parameter_gets_one(
    config: InteractionConfig, rows: int
) -> None:
    block, x_BD = _build(config).train(), _rows(rows).requires_grad_()
    out_BD = block(x_BD)
    (out_BD * torch.linspace(0.5, 1.5, out_BD.shape[1])).square().sum().backward()
    assert x_BD.grad is not None
    assert x_BD.grad.isfinite().all()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert rows == 0 or parameter.grad.abs().sum() > 0, name


def test_permuting_rows_permutes_the_result(config: InteractionConfig) -> None:
    block, x_BD = _build(config), _rows(7)
    order = torch.tensor([3, 1, 6, 0, 5, 2, 4])
    assert torch.allclose(block(x_BD[order]), block(x_BD)[order], atol=1e-6)


@torch.inference_mode()
def test_a_row_alone_has_the_bits_of_the_row_in_any_batch(config: InteractionConfig) -> None:
    block, x_BD = _build(config), _rows(300)
    whole = block(pad_rows(x_BD))
    for place in (0, 4, 31, 32, 299):
        alone = block(pad_rows(x_BD[place : place + 1]))
        assert torch.equal(alone[0], whole[place])
    some = block(pad_rows(x_BD[100:170]))
    assert torch.equal(some[:70], whole[100:170])


def test_half_precision_is_finite(config: InteractionConfig) -> None:
    block = _build(config).train()
    x_BD = _rows(16).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out_BD = block(x_BD)
    out_BD.float().square().sum().backward()
    assert out_BD.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())
    exact = block(_rows(16))
    assert (out_BD.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_inputs_of_any_size_stay_finite(config: InteractionConfig) -> None:
    block = _build(config)
    for size in (0.0, 1e-20, 1e3):
        assert block(size * _rows(7)).isfinite().all()


def test_the_same_seed_builds_the_same_bits(config: InteractionConfig) -> None:
    first, second = _build(config), _build(config)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(first(_rows(7)), second(_rows(7)))


def test_configuration_and_weights_make_the_round_trip(config: InteractionConfig) -> None:
    again = parse(type(config), config.model_dump(mode="json"))
    assert again == config
    block, other = _build(config), again.build(INPUTS).eval()
    other.load_state_dict(block.state_dict())
    assert torch.equal(other(_rows(7)), block(_rows(7)))


@pytest.mark.parametrize("rows", [1, 7])
def test_the_declared_cost_is_what_is_multiplied(config: InteractionConfig, rows: int) -> None:
    """Attention in its plain form, which is the one that is counted."""
    block = _build(config)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        block(_rows(rows))
    cost = cost_of(block)
    assert cost.multiply_adds * rows == counter.get_total_flops() / 2
    assert cost.parameters == sum(p.numel() for p in block.parameters())
    with torch.device("meta"):
        assert cost_of(config.build(INPUTS)) == cost
