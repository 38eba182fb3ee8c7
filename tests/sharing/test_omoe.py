"""OMoE against plain loops: MMoE whose gate is one."""

from __future__ import annotations

import torch
from torch import Tensor

from polyrank.layers import InputSpec
from polyrank.sharing import MMoE, OMoE
from tests.sharing import plain

TASKS = ("click", "like", "watch")
INPUTS = InputSpec(width=12)


def _rows() -> Tensor:
    return torch.randn(5, 12, generator=torch.Generator().manual_seed(1))


def test_it_is_the_gated_sum_of_its_experts_for_every_task() -> None:
    torch.manual_seed(0)
    block = OMoE(num_experts=3, widths=(8, 5), gate_temperature=2.0).assemble(INPUTS, TASKS).eval()
    x_BD = _rows()
    shared = block([x_BD])
    expected = []
    for x in x_BD.tolist():
        logits = plain.linear(x, block.gates.weight)
        gate = plain.softmax([logit / 2.0 for logit in logits])
        expected.append(plain.weighted(gate, plain.experts(x, block.experts)))
    assert list(shared.gates) == ["all tasks"]
    for task in TASKS:
        assert torch.allclose(shared.tasks[task], torch.tensor(expected), atol=1e-5)


def test_it_is_mmoe_with_the_gates_tied() -> None:
    torch.manual_seed(0)
    one = OMoE(num_experts=3, widths=(8,)).assemble(INPUTS, TASKS).eval()
    many = MMoE(num_experts=3, widths=(8,)).assemble(INPUTS, TASKS).eval()
    many.experts.load_state_dict(one.experts.state_dict())
    with torch.no_grad():
        many.gates.weight.copy_(one.gates.weight.repeat(len(TASKS), 1))
    x_BD = _rows()
    for task, output in many([x_BD]).tasks.items():
        assert torch.allclose(output, one([x_BD]).tasks[task], atol=1e-6)


def test_its_parameters_do_not_grow_with_the_tasks() -> None:
    config = OMoE(num_experts=3, widths=(8,))
    assert config.cost(INPUTS, TASKS) == config.cost(INPUTS, ["click"])
    assert config.cost(INPUTS, TASKS).parameters == 3 * (12 * 8 + 8) + 3 * 12
    assert config.cost(INPUTS, TASKS).multiply_adds == 3 * 12 * 8 + 3 * 12 + 3 * 8
