"""The laws of every registered sharing architecture.

Shapes: B rows, D width.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from polyrank.layers import InputSpec
from polyrank.schema import parse
from polyrank.sharing import SHARINGS, Shared, Sharing, SharingConfig

WIDTH = 32
INPUTS = InputSpec(width=WIDTH)
TASKS = {1: ("click",), 2: ("click", "like"), 5: ("click", "like", "share", "buy", "watch")}
CASES: dict[str, dict[str, Any]] = {
    "mmoe": {"num_experts": 3, "widths": [32, 16]},
    "shared_bottom": {"widths": [32, 16]},
    "single_task": {"widths": [32, 16]},
}


def test_every_sharing_is_under_contract() -> None:
    assert set(CASES) == set(SHARINGS)


@pytest.fixture(params=sorted(CASES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=sorted(TASKS))
def tasks(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return TASKS[request.param]


def _config(kind: str) -> SharingConfig:
    return parse(SHARINGS[kind], {"kind": kind, **CASES[kind]})


def _build(kind: str, tasks: tuple[str, ...]) -> Sharing:
    torch.manual_seed(0)
    return _config(kind).build(INPUTS, tasks).eval()


def _views(kind: str, tasks: tuple[str, ...], rows: int) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(rows, WIDTH) for _ in range(_config(kind).num_views(tasks))]


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_one_output_a_task(kind: str, tasks: tuple[str, ...], rows: int) -> None:
    block = _build(kind, tasks)
    shared = block(_views(kind, tasks, rows))
    assert tuple(shared.tasks) == tasks
    for output in shared.tasks.values():
        assert output.shape == (rows, block.out_width)
    for gate in shared.gates.values():
        assert torch.allclose(gate.sum(1), torch.ones(rows))


def _loss(shared: Shared) -> Tensor:
    return torch.stack([output.square().sum() for output in shared.tasks.values()]).sum()


def test_every_parameter_gets_a_finite_gradient(kind: str, tasks: tuple[str, ...]) -> None:
    block = _build(kind, tasks).train()
    _loss(block(_views(kind, tasks, 64))).backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_permuting_rows_permutes_the_result(kind: str, tasks: tuple[str, ...]) -> None:
    block, views = _build(kind, tasks), _views(kind, tasks, 7)
    order = torch.tensor([3, 1, 6, 0, 5, 2, 4])
    straight, permuted = block(views), block([view[order] for view in views])
    for task in tasks:
        assert torch.allclose(permuted.tasks[task], straight.tasks[task][order], atol=1e-6)


def test_a_row_alone_equals_the_row_in_a_batch(kind: str, tasks: tuple[str, ...]) -> None:
    block, views = _build(kind, tasks), _views(kind, tasks, 7)
    whole, alone = block(views), block([view[4:5] for view in views])
    for task in tasks:
        assert torch.allclose(alone.tasks[task], whole.tasks[task][4:5], atol=1e-6)


def test_an_unused_task_gives_no_gradient_to_what_it_owns(kind: str) -> None:
    """What is left without gradient belongs to that task alone: the others still train."""
    tasks = TASKS[2]
    block = _build(kind, tasks).train()
    block(_views(kind, tasks, 16)).tasks["click"].square().sum().backward()
    touched = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in block.parameters()]
    assert any(touched)
    if kind == "single_task":
        assert not all(touched)


def test_the_fork_is_where_all_task_gradients_meet(kind: str, tasks: tuple[str, ...]) -> None:
    """The gradient at the fork, sent down from there, is that of an ordinary backward pass."""
    block = _build(kind, tasks).train()
    views = [view.requires_grad_() for view in _views(kind, tasks, 16)]
    shared = block(views)
    if not shared.fork:
        assert kind == "single_task"
        return
    trunk = [p for name, p in block.named_parameters() if not name.startswith("gates")]
    at_fork = torch.autograd.grad(_loss(shared), shared.fork, retain_graph=True)
    down = torch.autograd.grad(shared.fork, trunk, at_fork, retain_graph=True)
    plain = torch.autograd.grad(_loss(shared), trunk)
    for ours, direct in zip(down, plain, strict=True):
        assert torch.allclose(ours, direct, atol=1e-5)


def test_the_same_seed_builds_the_same_bits(kind: str, tasks: tuple[str, ...]) -> None:
    first, second = _build(kind, tasks), _build(kind, tasks)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_half_precision_is_finite(kind: str, tasks: tuple[str, ...]) -> None:
    block = _build(kind, tasks).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = _loss(block(_views(kind, tasks, 16)))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


def test_the_state_survives_a_round_trip(kind: str, tasks: tuple[str, ...]) -> None:
    block, views = _build(kind, tasks), _views(kind, tasks, 7)
    torch.manual_seed(99)
    other = _config(kind).build(INPUTS, tasks).eval()
    other.load_state_dict(block.state_dict())
    for task in tasks:
        assert torch.equal(other(views).tasks[task], block(views).tasks[task])


def test_the_configuration_survives_a_round_trip(kind: str) -> None:
    config = _config(kind)
    assert parse(SHARINGS[kind], config.model_dump(mode="json")) == config
