"""Each architecture against plain loops written from its equation.

Shapes: B rows, D input width, H output width, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from polyrank.layers import MLP, InputSpec
from polyrank.sharing import MMoE, SharedBottom, SingleTask

TASKS = ("click", "like", "watch")


def _linear(x: list[float], weight: Tensor, bias: Tensor | None) -> list[float]:
    rows = weight.tolist()
    shift = [0.0] * len(rows) if bias is None else bias.tolist()
    return [
        sum(w * v for w, v in zip(row, x, strict=True)) + b
        for row, b in zip(rows, shift, strict=True)
    ]


def _relu(x: list[float]) -> list[float]:
    return [max(value, 0.0) for value in x]


def _softmax(x: list[float]) -> list[float]:
    exponents = [torch.tensor(value, dtype=torch.float64).exp().item() for value in x]
    return [value / sum(exponents) for value in exponents]


def _mlp(x: list[float], trunk: MLP) -> list[float]:
    for layer in trunk.layers:
        assert isinstance(layer, torch.nn.Linear)
        x = _relu(_linear(x, layer.weight, layer.bias))
    return x


def _inputs(num_views: int) -> list[Tensor]:
    torch.manual_seed(3)
    return [torch.randn(5, 16) for _ in range(num_views)]


def _close(found: Tensor, expected: list[list[float]]) -> None:
    assert torch.allclose(found, torch.tensor(expected), atol=1e-5)


def test_mmoe_is_the_gated_sum_of_its_experts() -> None:
    torch.manual_seed(0)
    config = MMoE(num_experts=4, widths=(12, 8), gate_temperature=2.0)
    block = config.assemble(InputSpec(width=16), TASKS).eval()
    (x_BD,) = _inputs(1)
    shared = block([x_BD])
    for place, task in enumerate(TASKS):
        gate_ED = block.gates.weight[place * 4 : place * 4 + 4]
        expected = []
        for x in x_BD.tolist():
            gate = _softmax([value / 2.0 for value in _linear(x, gate_ED, None)])
            mixed = [0.0] * 8
            for expert in range(4):
                h = x
                for weight_EOI, packed in zip(
                    block.experts.weights, block.experts.biases, strict=True
                ):
                    out = weight_EOI.shape[1]
                    bias = packed[expert * out : (expert + 1) * out]
                    h = _relu(_linear(h, weight_EOI[expert], bias))
                mixed = [m + gate[expert] * value for m, value in zip(mixed, h, strict=True)]
            expected.append(mixed)
        _close(shared.tasks[task], expected)


def test_a_gate_that_read_another_tasks_weights_would_be_noticed() -> None:
    torch.manual_seed(0)
    block = MMoE(num_experts=4, widths=(8,)).assemble(InputSpec(width=16), TASKS).eval()
    shared = block(_inputs(1))
    assert not torch.allclose(shared.tasks["click"], shared.tasks["like"], atol=1e-3)


def test_gate_dropout_renormalises_what_is_left() -> None:
    torch.manual_seed(0)
    block = (
        MMoE(num_experts=4, widths=(8,), gate_dropout=0.5)
        .assemble(InputSpec(width=16), TASKS)
        .train()
    )
    (x_BD,) = _inputs(1)
    gate_BE = block([x_BD]).gates["click"]
    plain_BE = block.eval()([x_BD]).gates["click"]
    assert torch.allclose(gate_BE.sum(1), torch.ones(5))
    assert (gate_BE == 0).any()
    for dropped, plain in zip(gate_BE, plain_BE, strict=True):
        kept = dropped > 0
        assert torch.allclose(dropped[kept], plain[kept] / plain[kept].sum(), atol=1e-6)


def test_shared_bottom_gives_every_task_the_same_trunk() -> None:
    torch.manual_seed(0)
    block = SharedBottom(widths=(12, 8)).assemble(InputSpec(width=16), TASKS).eval()
    (x_BD,) = _inputs(1)
    shared = block([x_BD])
    expected = [_mlp(x, block.trunk) for x in x_BD.tolist()]
    for task in TASKS:
        _close(shared.tasks[task], expected)


def test_single_tasks_read_their_own_view_through_their_own_trunk() -> None:
    torch.manual_seed(0)
    block = SingleTask(widths=(12, 8)).assemble(InputSpec(width=16), TASKS).eval()
    views = _inputs(len(TASKS))
    shared = block(views)
    for task, trunk, view_BD in zip(TASKS, block.trunks, views, strict=True):
        assert isinstance(trunk, MLP)
        _close(shared.tasks[task], [_mlp(x, trunk) for x in view_BD.tolist()])
