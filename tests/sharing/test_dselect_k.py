"""DSelect-k against plain loops written from the paper's equations.

Shapes: B rows, D input width, T tasks, K selectors, E experts.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from polyrank.errors import ConfigError
from polyrank.layers import InputSpec
from polyrank.schema import parse
from polyrank.sharing import DSelectK
from polyrank.sharing.dselect_k import DSelectKBlock, mean_entropy, smooth_step
from tests.sharing import plain
from tests.sharing.plain import Row

TASKS = ("click", "like", "watch")
INPUTS = InputSpec(width=12)
CASES = [
    DSelectK(num_experts=4, widths=(8, 5), num_selected=2, entropy=0.1),
    DSelectK(num_experts=8, widths=(6,), num_selected=3, gamma=2.0, entropy=0.1),
    DSelectK(num_experts=2, widths=(6,), num_selected=1, entropy=0.1),
    DSelectK(num_experts=4, widths=(6,), num_selected=2, per_row=True, entropy=0.1),
    DSelectK(num_experts=8, widths=(6,), num_selected=1, gamma=0.5, per_row=True, entropy=0.1),
]
CONFIGS = pytest.mark.parametrize("config", CASES)


def _block(config: DSelectK, spread: float = 0.4) -> DSelectKBlock:
    """With selectors so far apart that some bits are decided and some are not."""
    torch.manual_seed(0)
    block = config.assemble(INPUTS, TASKS)
    with torch.no_grad():
        for parameter in block.gates.parameters():
            parameter.normal_(std=spread * config.gamma)
    return block.eval()


def _rows() -> Tensor:
    return torch.randn(6, 12, generator=torch.Generator().manual_seed(1))


def _step(t: float, gamma: float) -> float:
    if t <= -gamma / 2:
        return 0.0
    if t >= gamma / 2:
        return 1.0
    return -2 / gamma**3 * t**3 + 3 / (2 * gamma) * t + 1 / 2


def _selector(z: Row, config: DSelectK, *, backwards: bool) -> Row:
    """r(z): one weight for each expert."""
    found = []
    for expert in range(config.num_experts):
        bits = format(expert, f"0{len(z)}b")
        weight = 1.0
        for value, bit in zip(z, bits[::-1] if backwards else bits, strict=True):
            step = _step(value, config.gamma)
            weight *= step if bit == "1" else 1 - step
        found.append(weight)
    return found


def oracle(
    block: DSelectKBlock, config: DSelectK, task: str, x: Row, *, backwards: bool = False
) -> tuple[Row, list[Row], Row]:
    """Of one row: the gate, its selectors, and the mixture. ``backwards`` plants a mistake."""
    bits = int(math.log2(config.num_experts))
    size = config.num_selected * (bits + 1)
    own = slice(TASKS.index(task) * size, (TASKS.index(task) + 1) * size)
    logits = block.gates.bias[own].tolist()
    if config.per_row:
        assert block.gates.weight is not None
        logits = plain.plus(logits, plain.linear(x, block.gates.weight[own]))
    parts = [logits[place * (bits + 1) :][: bits + 1] for place in range(config.num_selected)]
    selectors = [_selector(part[:-1], config, backwards=backwards) for part in parts]
    gate = plain.weighted(plain.softmax([part[-1] for part in parts]), selectors)
    return gate, selectors, plain.weighted(gate, plain.experts(x, block.experts))


@CONFIGS
def test_it_is_the_papers(config: DSelectK) -> None:
    block, x_BD = _block(config), _rows()
    shared = block([x_BD])
    assert shared.penalty is None
    for task in TASKS:
        rows = [oracle(block, config, task, x) for x in x_BD.tolist()]
        gates = torch.tensor([gate for gate, _, _ in rows])
        assert torch.allclose(shared.gates[task], gates, atol=1e-5)
        assert torch.allclose(shared.tasks[task], torch.tensor([f for _, _, f in rows]), atol=1e-5)


@pytest.mark.parametrize("config", [case for case in CASES if case.num_experts > 2])
def test_experts_numbered_the_other_way_are_noticed(config: DSelectK) -> None:
    block, x_BD = _block(config), _rows()
    for task, output in block([x_BD]).tasks.items():
        wrong = [oracle(block, config, task, x, backwards=True)[2] for x in x_BD.tolist()]
        assert not torch.allclose(output, torch.tensor(wrong), atol=1e-5)


@CONFIGS
def test_the_penalty_is_the_mean_entropy_of_the_selectors(config: DSelectK) -> None:
    block, x_BD = _block(config).train(), _rows()
    expected = 0.0
    for x in x_BD.tolist():
        for task in TASKS:
            for selector in oracle(block, config, task, x)[1]:
                expected -= sum(weight * math.log(weight) for weight in selector if weight > 0)
    penalty = block([x_BD]).penalty
    assert penalty is not None
    assert penalty.item() == pytest.approx(0.1 * expected / len(x_BD), rel=1e-4)


def test_the_smooth_step_by_hand() -> None:
    points = torch.tensor([-9.0, -1.0, -0.5, 0.0, 0.5, 1.0, 9.0])
    expected = torch.tensor([0.0, 0.0, 0.15625, 0.5, 0.84375, 1.0, 1.0])
    assert torch.allclose(smooth_step(points, 2.0), expected)


@CONFIGS
def test_settled_selectors_have_a_finite_gradient_of_zero(config: DSelectK) -> None:
    block = _block(config, spread=1e4).train()
    shared = block([_rows()])
    (shared.tasks["click"].sum() + shared.penalty).backward()
    for name, parameter in block.gates.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all(), name
    assert shared.penalty is not None
    assert shared.penalty.item() == 0
    for gate in shared.gates.values():
        assert ((gate > 0).sum(1) <= config.num_selected).all()


def test_a_block_begins_with_every_expert_in_use() -> None:
    for config in CASES:
        torch.manual_seed(0)
        gates = config.assemble(INPUTS, TASKS)([_rows()]).gates
        for gate in gates.values():
            assert torch.allclose(gate, torch.full_like(gate, 1 / config.num_experts), atol=0.1)


def test_the_penalty_makes_selectors_settle() -> None:
    """Its descent leaves at most k experts with a weight, as the paper promises."""
    torch.manual_seed(0)
    config = DSelectK(num_experts=8, widths=(4,), num_selected=2, entropy=1.0)
    block = config.assemble(INPUTS, TASKS).train()
    descent = torch.optim.Adam(block.gates.parameters(), lr=0.02)
    for _ in range(120):
        descent.zero_grad()
        penalty = block([_rows()]).penalty
        assert penalty is not None
        penalty.backward()
        descent.step()
    for gate in block([_rows()]).gates.values():
        assert ((gate > 0).sum(1) <= 2).all()
        assert torch.allclose(gate.sum(1), torch.ones(6))


def test_no_row_has_no_entropy() -> None:
    assert mean_entropy(torch.empty(0, 3, 2, 4)).item() == 0
    assert mean_entropy(torch.full((5, 3, 2, 4), 0.25)).item() == pytest.approx(6 * math.log(4))


def test_a_weight_of_zero_is_no_penalty() -> None:
    block = DSelectK(num_experts=4, widths=(4,), entropy=0.0).assemble(INPUTS, TASKS).train()
    assert block([_rows()]).penalty is None


def test_static_gates_cost_no_product() -> None:
    static = DSelectK(num_experts=4, widths=(8,)).cost(INPUTS, TASKS)
    per_row = DSelectK(num_experts=4, widths=(8,), per_row=True).cost(INPUTS, TASKS)
    assert static.multiply_adds == 12 * 4 * 8 + 3 * 4 * 8
    assert per_row.multiply_adds == static.multiply_adds + 12 * 3 * 2 * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_experts": 6}, "power of 2, at least 2, got 6.*Take 4 or 8"),
        ({"num_experts": 1}, "power of 2, at least 2, got 1.*Take 2 or 4"),
        ({"num_experts": 2, "num_selected": 3}, "at most `num_experts`, 2, got 3"),
        ({"gamma": 0.0}, "gamma"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(DSelectK, {"kind": "dselect_k", **settings})
