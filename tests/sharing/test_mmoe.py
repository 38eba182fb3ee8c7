"""MMoE against plain loops, with and without what keeps its experts in health."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polyrank.layers import Gates, InputSpec
from polyrank.sharing import MMoE
from polyrank.sharing.mmoe import MMoEBlock
from tests.sharing import plain

TASKS = ("click", "like", "watch")
INPUTS = InputSpec(width=12)
CASES = [
    MMoE(num_experts=3, widths=(8, 5)),
    MMoE(num_experts=4, widths=(6,), gate_temperature=2.0),
    MMoE(num_experts=2, widths=(8, 5), activation="swish", norm="batch", gate_dropout=0.3),
]
CONFIGS = pytest.mark.parametrize("config", CASES)


def _block(config: MMoE) -> MMoEBlock:
    """In evaluation, after one batch of training, so that running statistics are no constants."""
    torch.manual_seed(0)
    block = config.assemble(INPUTS, TASKS).train()
    block([torch.randn(20, 12) + 1])
    return block.eval()


def _agrees(config: MMoE, gate_of: dict[str, str] | None = None) -> bool:
    """``gate_of`` plants a mistake in the loops: whose gate a task takes."""
    block = _block(config)
    x_BD = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    shared = block([x_BD])
    for task in TASKS:
        place = TASKS.index((gate_of or {}).get(task, task))
        weight = block.gates.weight[place * config.num_experts :][: config.num_experts]
        expected = []
        for x in x_BD.tolist():
            logits = plain.linear(x, weight)
            gate = plain.softmax([logit / config.gate_temperature for logit in logits])
            expected.append(plain.weighted(gate, plain.experts(x, block.experts)))
        if not torch.allclose(shared.tasks[task], torch.tensor(expected), atol=1e-5):
            return False
    return True


@CONFIGS
def test_it_is_the_papers(config: MMoE) -> None:
    assert _agrees(config)


@CONFIGS
def test_a_task_with_the_gate_of_another_is_noticed(config: MMoE) -> None:
    assert not _agrees(config, {"click": "like"})


@CONFIGS
def test_gates_that_read_the_wrong_input_are_noticed(
    config: MMoE, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Gates.forward

    def wrong(self: Gates, x_BD: Tensor) -> dict[str, Tensor]:
        return forward(self, x_BD.flip(1))

    monkeypatch.setattr(Gates, "forward", wrong)
    assert not _agrees(config)


def test_the_papers_experiment_has_its_parameters() -> None:
    """Section 5.1: 8 experts of 16 units on 100 inputs; the gates and biases come on top."""
    cost = MMoE(num_experts=8, widths=(16,)).cost(InputSpec(width=100), ["first", "second"])
    assert cost.parameters == 100 * 16 * 8 + 16 * 8 + 2 * 8 * 100
