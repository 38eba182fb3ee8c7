"""The laws of every registered sharing architecture.

Shapes: B rows, D width.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from polyrank.errors import ConfigError
from polyrank.layers import Block, InputSpec, cost_of
from polyrank.schema import parse
from polyrank.sharing import SHARINGS, Shared, Sharing, SharingConfig
from tests.contract.owners import move, owner, pieces

Case = dict[str, Any] | Callable[[tuple[str, ...]], dict[str, Any]]
CASES: dict[str, Case] = {
    "adatt": {"num_experts": 2, "widths": [32, 16]},
    "adatt with shared experts": {"kind": "adatt", "num_shared_experts": 2, "widths": [32, 24, 16]},
    "adatt in health": {
        "kind": "adatt",
        "num_experts": 1,
        "num_shared_experts": 1,
        "widths": [32, 16],
        "gate_dropout": 0.1,
        "gate_temperature": 2.0,
        "balance": 0.1,
        "activation": "swish",
        "norm": "batch",
    },
    "cross_stitch": {"widths": [32, 16]},
    "groups": lambda tasks: {
        "groups": _by_half(tasks),
        "sharing": {"kind": "mmoe", "num_experts": 3, "widths": [32, 16]},
    },
    "groups with tables and a penalty": lambda tasks: {
        "kind": "groups",
        "groups": _by_half(tasks),
        "sharing": {"kind": "snr", "widths": [32, 16]},
        "own_tables": True,
    },
    "cgc": {"num_task_experts": 1, "num_shared_experts": 2, "widths": [32, 16]},
    "dselect_k": {"num_experts": 4, "widths": [32, 16], "entropy": 0.1},
    "dselect_k per row": {
        "kind": "dselect_k",
        "num_experts": 4,
        "widths": [16],
        "num_selected": 3,
        "entropy": 0.1,
        "per_row": True,
    },
    "mmoe": {"num_experts": 3, "widths": [32, 16]},
    "mmoe in health": {
        "kind": "mmoe",
        "num_experts": 3,
        "widths": [32, 16],
        "gate_dropout": 0.1,
        "gate_temperature": 2.0,
        "balance": 0.1,
        "activation": "swish",
        "norm": "batch",
    },
    "omoe": {"num_experts": 3, "widths": [32, 16]},
    "ple": {"num_task_experts": 2, "num_shared_experts": 1, "widths": [16]},
    "ple in health": {
        "kind": "ple",
        "num_levels": 3,
        "num_task_experts": 1,
        "num_shared_experts": 2,
        "widths": [16, 8],
        "balance": 0.1,
        "norm": "layer",
    },
    "home": lambda tasks: {"groups": _by_half(tasks), "meta_widths": [32], "widths": [16]},
    "home of single experts": lambda tasks: {
        "kind": "home",
        "groups": _by_half(tasks),
        "num_experts": 1,
        "meta_widths": [24, 16],
        "widths": [16],
        "num_parts": 1,
    },
    "pepnet": {
        "domain": ["hour"],
        "priors": ["user", "item"],
        "widths": [32, 16],
        "gate_widths": [16],
    },
    "stem": {"num_shared_experts": 2, "widths": [32, 16], "gate_widths": [16]},
    "stem in health": {
        "kind": "stem",
        "num_task_experts": 2,
        "widths": [16],
        "gate_widths": [],
        "gate_dropout": 0.1,
        "balance": 0.1,
        "norm": "batch",
    },
    "shared_bottom": {"widths": [32, 16]},
    "single_task": {"widths": [32, 16]},
    "single_task of the width": lambda tasks: {
        "kind": "single_task",
        "widths": [8 * len(tasks)] * 2,
        "divide_width": True,
    },
    "snr": {"widths": [32, 16]},
    "snr without matrices": {"kind": "snr", "connection": "aver", "widths": [32, 16]},
}
"""By kind, or by any other name with the kind in it: the settings, maybe a function of the tasks.
All widths that the block chooses are to be at least 8, so that no ReLU layer is dead."""

OWN_NOTHING: set[str] = {"omoe", "shared_bottom"}
"""Cases where all tasks use every parameter."""

TASKS = {1: ("click",), 2: ("click", "like"), 5: ("click", "like", "share", "buy", "watch")}
WIDTH = 32
INPUTS = InputSpec(
    width=WIDTH,
    blocks=(
        Block(name="user", side="user", start=0, stop=8),
        Block(name="age", side="user", start=8, stop=9),
        Block(name="item", side="item", start=9, stop=17),
        Block(name="hour", side="context", start=17, stop=25),
    ),
)


def _by_half(tasks: tuple[str, ...]) -> dict[str, list[str]]:
    names = sorted(tasks)
    halves = {"first": names[:2], "second": names[2:]}
    return {group: own for group, own in halves.items() if own}


def kind_of(case: str, tasks: tuple[str, ...] = TASKS[2]) -> str:
    return str(settings_of(case, tasks).get("kind", case))


def settings_of(case: str, tasks: tuple[str, ...]) -> dict[str, Any]:
    found = CASES[case]
    return found(tasks) if callable(found) else found


def config_of(case: str, tasks: tuple[str, ...], **changed: Any) -> SharingConfig:
    kind = kind_of(case, tasks)
    return parse(SHARINGS[kind], {**settings_of(case, tasks), "kind": kind, **changed})


def test_every_sharing_is_under_contract() -> None:
    assert {kind_of(case) for case in CASES} == set(SHARINGS)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=TASKS, ids=lambda count: f"{count}-tasks")
def tasks(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return TASKS[request.param]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _build(case: str, tasks: tuple[str, ...], seed: int = 0) -> Sharing:
    torch.manual_seed(seed)
    return config_of(case, tasks).build(INPUTS, tasks).eval()


def _views(case: str, tasks: tuple[str, ...], rows: int) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(rows, WIDTH) for _ in range(config_of(case, tasks).num_views(tasks))]


def _loss(shared: Shared) -> Tensor:
    total = torch.stack([output.square().sum() for output in shared.tasks.values()]).sum()
    return total if shared.penalty is None else total + shared.penalty


# What a block gives.


def test_shapes(case: str, tasks: tuple[str, ...]) -> None:
    """Serving, then training, of some rows, of none and of one."""
    for training in (False, True):
        block = _build(case, tasks).train(training)
        for rows in (7, 0, 1):
            _has_its_shapes(block, block(_views(case, tasks, rows)), tasks, rows)


def _has_its_shapes(block: Sharing, shared: Shared, tasks: tuple[str, ...], rows: int) -> None:
    assert tuple(shared.tasks) == tasks
    for output in shared.tasks.values():
        assert output.shape == (rows, block.out_width)
        assert output.isfinite().all()
    for name, gate in shared.gates.items():
        assert gate.shape == (rows, len(block.gate_experts[name])), name
        assert (gate >= 0).all()
        assert torch.allclose(gate.sum(1), torch.ones(rows))
    for name, bank in shared.experts.items():
        assert bank.shape[:2] == (rows, len(block.expert_names[name])), name


def test_experts_and_gates_are_named(case: str, tasks: tuple[str, ...]) -> None:
    block = _build(case, tasks)
    shared = block(_views(case, tasks, 1))
    assert set(block.expert_names) == set(shared.experts)
    assert set(block.gate_experts) == set(shared.gates)
    names = [name for bank in block.expert_names.values() for name in bank]
    assert len(set(names)) == len(names)
    for seen in block.gate_experts.values():
        assert len(set(seen)) == len(seen)
        assert set(seen) <= set(names)


def test_a_penalty_is_a_finite_float32_number(case: str, tasks: tuple[str, ...]) -> None:
    block = _build(case, tasks).train()
    for rows in (7, 0, 1):
        shared = block(_views(case, tasks, rows))
        if shared.penalty is None:
            continue
        assert shared.penalty.shape == ()
        assert shared.penalty.dtype == torch.float32
        assert shared.penalty.isfinite(), rows
        block.zero_grad()
        if shared.penalty.requires_grad:
            shared.penalty.backward()
        for name, parameter in block.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), (name, rows)


# Gradients.


def test_every_parameter_gets_a_finite_gradient(case: str, tasks: tuple[str, ...]) -> None:
    block = _build(case, tasks).train()
    _loss(block(_views(case, tasks, 64))).backward()
    for piece, gradient in _gradients(block).items():
        assert gradient.isfinite().all(), piece
        assert gradient.abs().sum() > 0, piece


def test_an_unobserved_task_gives_no_gradient_to_what_it_owns(case: str) -> None:
    tasks = TASKS[2]
    block = _build(case, tasks).train()
    shared = block(_views(case, tasks, 16))
    (0.0 * shared.tasks["like"].sum() + shared.tasks["click"].square().sum()).backward()
    touched = {piece: bool(grad.abs().sum() > 0) for piece, grad in _gradients(block).items()}
    owned = {piece: owner(piece, tasks) for piece in touched}
    assert all(not touched[piece] for piece, task in owned.items() if task == "like")
    assert any(touched[piece] for piece, task in owned.items() if task != "like")
    if case in OWN_NOTHING:
        assert set(owned.values()) == {None}
        assert all(touched.values())
    else:
        assert {"click", "like"} <= set(owned.values())
        assert any(touched[piece] for piece, task in owned.items() if task == "click")


def _gradients(block: Sharing) -> dict[str, Tensor]:
    """By piece, zero where there is none."""
    found = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in block.named_parameters()
    }
    return pieces(block, found)


def test_what_several_tasks_share_gets_its_whole_gradient_through_fork_and_gates(
    case: str, tasks: tuple[str, ...]
) -> None:
    block = _build(case, tasks).train()
    views = [view.requires_grad_() for view in _views(case, tasks, 16)]
    shared = block(views)
    losses = [output.square().sum() for output in shared.tasks.values()]
    below = _below(block, views, losses)
    if not shared.fork:
        assert kind_of(case) == "single_task"
        assert not below
        return
    leaves = [*block.parameters(), *views]
    total = torch.stack(losses).sum()
    cut = [*shared.fork, *shared.asked]
    at_cut = torch.autograd.grad(total, cut, retain_graph=True)
    down = _named(block, _grads(cut, leaves, at_cut))
    plain = _named(block, _grads([total], leaves))
    assert len(tasks) == 1 or "view 0" in below or len(views) > 1
    for piece in below:
        assert torch.allclose(down[piece], plain[piece], rtol=1e-4, atol=1e-5), piece


def test_mixing_says_how_tasks_are_made_of_the_fork(case: str, tasks: tuple[str, ...]) -> None:
    block = _build(case, tasks).train()
    shared = block(_views(case, tasks, 16))
    if not shared.mixing:
        assert kind_of(case) not in {"mmoe", "dselect_k", "cgc", "ple"} or len(tasks) == 1
        return
    (bank_BEH,) = shared.fork
    for task, output in shared.tasks.items():
        mixed = torch.einsum("be,beh->bh", shared.mixing[task].expand(16, -1), bank_BEH)
        assert torch.allclose(output, mixed, atol=1e-5)


def _below(block: Sharing, views: list[Tensor], losses: list[Tensor]) -> list[str]:
    """Pieces and views to which several tasks give a gradient."""
    found = [_named(block, _grads([loss], [*block.parameters(), *views])) for loss in losses]
    return [
        piece
        for piece in found[0]
        if sum(bool(by_piece[piece].abs().sum() > 0) for by_piece in found) > 1
    ]


def _grads(
    outputs: Sequence[Tensor], leaves: list[Tensor], gradients: Sequence[Tensor] | None = None
) -> list[Tensor]:
    found = torch.autograd.grad(
        outputs, leaves, gradients, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return list(found)


def _named(block: Sharing, gradients: list[Tensor]) -> dict[str, Tensor]:
    names = [name for name, _ in block.named_parameters()]
    by_name = dict(zip(names, gradients, strict=False))
    views = {f"view {place}": grad for place, grad in enumerate(gradients[len(names) :])}
    return {**pieces(block, by_name), **views}


# What the result does not depend on.


def test_permuting_the_tasks_permutes_the_result(case: str, tasks: tuple[str, ...]) -> None:
    x_BD = torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(2))
    views = [x_BD] * config_of(case, tasks).num_views(tasks)
    turned = (*tasks[2:], *tasks[:2][::-1])
    block, other = _build(case, tasks), _build(case, turned, seed=5)
    move(block, other)
    straight, permuted = block(views), other(views)
    assert tuple(permuted.tasks) == turned
    for task in tasks:
        assert torch.allclose(permuted.tasks[task], straight.tasks[task], atol=1e-6)
    for name, gate in straight.gates.items():
        order = [other.gate_experts[name].index(seen) for seen in block.gate_experts[name]]
        assert torch.allclose(permuted.gates[name][:, order], gate, atol=1e-6), name


def test_permuting_rows_permutes_the_result(case: str, tasks: tuple[str, ...]) -> None:
    block, views = _build(case, tasks), _views(case, tasks, 7)
    order = torch.tensor([3, 1, 6, 0, 5, 2, 4])
    straight, permuted = block(views), block([view[order] for view in views])
    for task in tasks:
        assert torch.allclose(permuted.tasks[task], straight.tasks[task][order], atol=1e-6)


def test_a_row_alone_equals_the_row_in_a_batch(case: str, tasks: tuple[str, ...]) -> None:
    block, views = _build(case, tasks), _views(case, tasks, 7)
    whole, alone = block(views), block([view[4:5] for view in views])
    for task in tasks:
        assert torch.allclose(alone.tasks[task], whole.tasks[task][4:5], atol=1e-6)


def test_tracking_gradients_changes_nothing(case: str, tasks: tuple[str, ...]) -> None:
    block, views = _build(case, tasks), _views(case, tasks, 7)
    with torch.no_grad():
        scored = block(views)
    for task, output in block(views).tasks.items():
        assert torch.allclose(output, scored.tasks[task], atol=1e-6)


def test_the_same_seed_gives_the_same_bits(case: str, tasks: tuple[str, ...]) -> None:
    first, second = _build(case, tasks).train(), _build(case, tasks).train()
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    views = _views(case, tasks, 7)
    torch.manual_seed(7)
    once = first(views)
    torch.manual_seed(7)
    again = second(views)
    for task in tasks:
        assert torch.equal(once.tasks[task], again.tasks[task])


def test_half_precision_is_finite(case: str, tasks: tuple[str, ...]) -> None:
    block = _build(case, tasks).train()
    with torch.autocast("cpu", torch.bfloat16):
        shared = block([view.bfloat16() for view in _views(case, tasks, 16)])
        loss = _loss(shared).float()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in block.parameters())


# Round trips.


def test_the_state_survives_a_round_trip(case: str, tasks: tuple[str, ...]) -> None:
    block, views = _build(case, tasks), _views(case, tasks, 7)
    other = _build(case, tasks, seed=99)
    other.load_state_dict(block.state_dict())
    for task in tasks:
        assert torch.equal(other(views).tasks[task], block(views).tasks[task])


def test_the_configuration_survives_a_round_trip(case: str, tasks: tuple[str, ...]) -> None:
    config = config_of(case, tasks)
    assert parse(SHARINGS[config.kind], config.model_dump(mode="json")) == config


# Cost.


@pytest.fixture
def unpadded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros that only fill a product up to whole blocks are not counted."""
    for name, module in list(sys.modules.items()):
        if name.startswith("polyrank.") and hasattr(module, "padded_width"):
            monkeypatch.setattr(module, "padded_width", lambda width: width)
    monkeypatch.setattr("polyrank.layers.mixing.padded_sums", lambda num_sums, size: num_sums)


def _fused_flops(x_shape: Any, weight_shape: Any, *_: Any, **__: Any) -> int:
    return 2 * int(math.prod(x_shape)) * int(weight_shape[0])


@pytest.mark.usefixtures("unpadded")
def test_the_declared_cost_is_the_real_cost(case: str, tasks: tuple[str, ...]) -> None:
    rows, block = 7, _build(case, tasks)
    cost = config_of(case, tasks).cost(INPUTS, tasks)
    assert cost == cost_of(block)
    assert cost.parameters == sum(parameter.numel() for parameter in block.parameters())
    fused = {torch.ops.mkldnn._linear_pointwise: _fused_flops}
    with FlopCounterMode(display=False, custom_mapping=fused) as counter, torch.no_grad():
        block(_views(case, tasks, rows))
    assert cost.multiply_adds == counter.get_total_flops() / 2 / rows


def _widths(config: SharingConfig) -> list[int]:
    found: list[int] = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        if name == "widths" or name.endswith("_widths"):
            found += value
        elif isinstance(value, SharingConfig):
            found += _widths(value)
    return found


def test_a_budget_is_kept_and_used(case: str, tasks: tuple[str, ...]) -> None:
    plain = config_of(case, tasks)
    least = plain.scaled(0.0).cost(INPUTS, tasks).parameters
    stretch = {1: 0.3, 2: 1.0, 5: 2.5}[len(tasks)]
    budget = max(least, int(stretch * plain.cost(INPUTS, tasks).parameters))
    fitted = config_of(case, tasks, budget=budget).fitted(INPUTS, tasks)
    block = fitted.build(INPUTS, tasks)
    assert sum(parameter.numel() for parameter in block.parameters()) <= budget
    assert fitted.cost(INPUTS, tasks) == cost_of(block)
    pairs = zip(_widths(plain), _widths(fitted), strict=True)
    wider = plain.scaled((1 + 1e-9) * min((after + 1) / before for before, after in pairs))
    assert wider.cost(INPUTS, tasks).parameters > budget


def test_a_budget_too_small_is_refused(case: str, tasks: tuple[str, ...]) -> None:
    least = config_of(case, tasks).scaled(0.0).cost(INPUTS, tasks).parameters
    block = config_of(case, tasks, budget=least).build(INPUTS, tasks)
    assert sum(parameter.numel() for parameter in block.parameters()) == least
    assert config_of(case, tasks, budget=least).cost(INPUTS, tasks) == cost_of(block)
    with pytest.raises(ConfigError, match=f"at least {least}"):
        config_of(case, tasks, budget=least - 1).build(INPUTS, tasks)
