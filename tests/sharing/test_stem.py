"""STEM-Net against plain loops, and where its gradients stop.

Shapes: B rows, D input width.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polyrank.layers import InputSpec
from polyrank.sharing import STEM
from polyrank.sharing import stem as module
from polyrank.sharing.stem import STEMBlock
from tests.sharing import plain
from tests.sharing.plain import Row

TASKS = ("click", "like", "watch")
WIDTH = 16
GATES = pytest.mark.parametrize("gate_widths", [(), (12, 8)])


def _built(gate_widths: tuple[int, ...] = (12,)) -> STEMBlock:
    torch.manual_seed(0)
    config = STEM(
        num_task_experts=2,
        num_shared_experts=3,
        widths=(12, 8),
        gate_widths=gate_widths,
        gate_temperature=2.0,
    )
    return config.assemble(InputSpec(width=WIDTH), TASKS).double().eval()


def _views() -> list[Tensor]:
    torch.manual_seed(3)
    return [torch.randn(4, WIDTH, dtype=torch.float64) for _ in (*TASKS, "shared")]


def _by_loops(block: STEMBlock, task: int, views: list[Row]) -> Row:
    """The equations, a row at a time."""
    *own, shared = views
    outputs = [
        row
        for view, bank in zip(own, block.experts, strict=True)
        for row in plain.experts(view, bank)  # type: ignore[arg-type]
    ] + plain.experts(shared, block.shared_experts)
    asked = plain.plus(views[task], shared)
    hidden = plain.mlp(asked, block.hidden[task])  # type: ignore[arg-type]
    weight = block.gates[task].weight
    assert isinstance(weight, Tensor)
    gate = plain.softmax([value / 2.0 for value in plain.linear(hidden, weight)])
    return plain.weighted(gate, outputs)


@pytest.mark.parametrize("training", [True, False])
@GATES
def test_every_task_is_the_gated_sum_of_all_experts(
    gate_widths: tuple[int, ...], training: bool
) -> None:
    block, views = _built(gate_widths), _views()
    with torch.set_grad_enabled(training):
        shared = block(views)
    for place, task in enumerate(TASKS):
        rows = zip(*(view.tolist() for view in views), strict=True)
        expected = torch.tensor([_by_loops(block, place, list(row)) for row in rows])
        assert torch.allclose(shared.tasks[task].float(), expected, atol=1e-5)


def test_one_table_a_task_and_a_shared_one() -> None:
    assert STEM().num_views(TASKS) == 4
    assert STEM().num_views(["click"]) == 2


def _gradients_stop(block: STEMBlock) -> None:
    """A task's loss moves its own experts, gate and view, and the shared ones; no others."""
    for place, task in enumerate(TASKS):
        views = [view.requires_grad_() for view in _views()]
        block.zero_grad()
        block(views).tasks[task].square().sum().backward()
        for other, (view, bank, gate) in enumerate(
            zip(views, block.experts, block.gates, strict=False)
        ):
            moved = [view.grad, *(p.grad for p in (*bank.parameters(), *gate.parameters()))]
            if other == place:
                assert all(grad is not None and bool(grad.any()) for grad in moved)
            else:
                assert not any(grad is not None and bool(grad.any()) for grad in moved)
        moved = [views[-1].grad, *(p.grad for p in block.shared_experts.parameters())]
        assert all(grad is not None and bool(grad.any()) for grad in moved)


def test_gradients_stop_at_the_experts_of_other_tasks() -> None:
    _gradients_stop(_built())


def test_experts_that_other_tasks_train_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_stopped", lambda banks, own: list(banks))
    with pytest.raises(AssertionError):
        _gradients_stop(_built())


def test_gradients_of_the_own_and_the_shared_view_are_whole() -> None:
    block = _built()
    views = [view[:1].requires_grad_() for view in _views()]
    block(views).tasks["like"].square().sum().backward()
    rows: list[Row] = [view[0].tolist() for view in views]
    for place in (1, 3):

        def loss(x: Row, place: int = place) -> float:
            moved = [*rows[:place], x, *rows[place + 1 :]]
            return sum(value**2 for value in _by_loops(block, 1, moved))

        found = views[place].grad
        assert found is not None
        assert torch.allclose(found[0], plain.slope(loss, rows[place]), atol=1e-6)


def test_the_gate_learns_from_the_experts_of_other_tasks() -> None:
    """Forward all: the weight that a gate gives to another task's expert has a gradient."""
    block = _built()
    block(_views()).tasks["click"].square().sum().backward()
    weight = block.gates[0].weight
    assert isinstance(weight, Tensor)
    assert weight.grad is not None
    assert weight.grad.abs().sum(1).all()
