"""HoME against plain loops, and the groups it takes.

Shapes: B rows, D input width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polyrank.errors import ConfigError
from polyrank.layers import InputSpec, cost_of
from polyrank.schema import Binary, Categorical, Faults, Schema, parse
from polyrank.sharing import HoME
from polyrank.sharing import home as module
from polyrank.sharing.home import Bank, FeatureGate, HoMEBlock, SelfGates
from tests.sharing import plain
from tests.sharing.plain import Row

TASKS = ("watch", "like", "click", "share")
GROUPS = {"inter": ["like", "share", "click"], "time": ["watch"]}
WIDTH = 16
SIZES = pytest.mark.parametrize(
    ("num_experts", "num_parts"), [(2, 2), (1, 2), (3, 1), (1, 1), (2, 3)]
)


def _config(**changed: Any) -> HoME:
    sizes = {"num_experts": 2, "meta_widths": [12, 10], "widths": [8]}
    return parse(HoME, {"kind": "home", "groups": GROUPS, **sizes, **changed})


def _built(**changed: Any) -> HoMEBlock:
    """Double precision, and running statistics as after some training."""
    torch.manual_seed(0)
    block = _config(**changed).assemble(InputSpec(width=WIDTH), TASKS).double()
    with torch.no_grad():
        for name, value in block.state_dict().items():
            if ".norms." in name:
                value.uniform_(0.5, 1.5)
    return block.eval()


def _input() -> Tensor:
    torch.manual_seed(3)
    return torch.randn(4, WIDTH, dtype=torch.float64)


def _featured(v: Row, gate: FeatureGate) -> Row:
    rank, parts = gate.rank, []
    for part, up_DR in enumerate(gate.up):
        low = plain.linear(v, gate.down[part * rank : (part + 1) * rank])
        parts.append([2 * value for value in plain.sigmoid(plain.linear(low, up_DR))])
    weights = plain.softmax(plain.linear(v, gate.parts.weight)) if gate.parts else [1.0]
    return plain.times(v, plain.weighted(weights, parts))


def _bank(v: Row, bank: nn.Module) -> list[Row]:
    assert isinstance(bank, Bank)
    return plain.experts(_featured(v, bank.features), bank.experts)


def _own(v: Row, gates: nn.Module, place: int) -> Row:
    assert isinstance(gates, SelfGates)
    count = gates.weight.shape[0] // len(gates.names)
    logits = plain.linear(v, gates.weight[place * count : (place + 1) * count])
    return plain.sigmoid(logits) if count == 1 else plain.softmax(logits)


def _gate(v: Row, weight: Any, place: int, count: int) -> Row:
    return plain.softmax(plain.linear(v, weight[place * count : (place + 1) * count]))


def _metas(block: HoMEBlock, v: Row) -> dict[str, Row]:
    meta = block.meta
    inter, time, shared = (_bank(v, bank) for bank in meta.banks)
    count = 2 * len(shared)
    of_all = plain.softmax(plain.linear(v, meta.shared_gate.weight))
    gated = {
        "inter": (_gate(v, meta.gates.weight, 0, count), [*inter, *shared]),
        "time": (_gate(v, meta.gates.weight, 1, count), [*time, *shared]),
        "shared": (of_all, [*shared, *inter, *time]),
    }
    found = {}
    for place, (own, (name, (gate, seen))) in enumerate(
        zip((inter, time, shared), gated.items(), strict=True)
    ):
        residual = plain.weighted(_own(v, meta.self_gates, place), own)
        found[name] = plain.plus(plain.weighted(gate, seen), residual)
    return found


def _by_loops(block: HoMEBlock, task: str, v: Row) -> Row:
    metas = _metas(block, v)
    group = next(name for name, own in GROUPS.items() if task in own)
    z, group_place = metas[group], list(GROUPS).index(group)
    place = GROUPS[group].index(task)
    own = _bank(z, block.own[TASKS.index(task)])
    of_group = _bank(z, block.common[group_place])
    of_all = _bank(metas["shared"], block.common[2])
    gate = _gate(z, block.gates[group_place].weight, place, 3 * len(own))
    residual = plain.weighted(_own(z, block.self_gates[group_place], place), own)
    return plain.plus(plain.weighted(gate, [*own, *of_group, *of_all]), residual)


def _agree(block: HoMEBlock) -> None:
    v_BD = _input()
    shared = block([v_BD])
    for task in TASKS:
        expected = torch.tensor([_by_loops(block, task, v) for v in v_BD.tolist()])
        assert torch.allclose(shared.tasks[task].float(), expected, atol=1e-5), task


@SIZES
def test_both_levels_are_the_equations(num_experts: int, num_parts: int) -> None:
    _agree(_built(num_experts=num_experts, num_parts=num_parts))


def test_a_gate_that_reads_the_shared_representation_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right: Callable[..., Any] = HoMEBlock._gates

    def wrong(block: HoMEBlock, metas: Mapping[str, Tensor]) -> Any:
        return right(block, dict.fromkeys(metas, metas["all tasks"]))

    monkeypatch.setattr(HoMEBlock, "_gates", wrong)
    with pytest.raises(AssertionError):
        _agree(_built())


def test_a_missing_self_gate_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = module.mixed
    monkeypatch.setattr(
        module, "mixed", lambda banks, gate_BA, self_BE: right(banks, gate_BA, self_BE * 0)
    )
    with pytest.raises(AssertionError):
        _agree(_built())


def test_a_missing_feature_gate_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureGate, "forward", lambda gate, v_BD: v_BD)
    with pytest.raises(AssertionError):
        _agree(_built())


def test_gradients_are_those_of_the_loops() -> None:
    block = _built()
    v_BD = _input()[:1].requires_grad_()
    block([v_BD]).tasks["share"].square().sum().backward()

    def loss(v: Row) -> float:
        return sum(value**2 for value in _by_loops(block, "share", v))

    assert v_BD.grad is not None
    assert torch.allclose(v_BD.grad[0], plain.slope(loss, v_BD[0].tolist()), atol=1e-5)


def test_training_norms_by_the_batch_and_remembers_it() -> None:
    block, v_BD = _built().train(), _input()
    before = {name: value.clone() for name, value in block.named_buffers()}
    trained = block([v_BD]).tasks["like"]
    assert all(bool((value != before[name]).any()) for name, value in block.named_buffers())
    assert not torch.allclose(trained, block.eval()([v_BD]).tasks["like"], atol=1e-3)


def test_a_feature_gate_has_the_rank_of_its_input_over_its_parts() -> None:
    for parts, rank in ((1, 16), (2, 8), (3, 5), (40, 1)):
        gate = FeatureGate(16, parts)
        assert gate.rank == rank
        assert gate.up.shape == (parts, 16, rank)
    assert cost_of(FeatureGate(16, 2)).multiply_adds == 2 * 16 * 16 + 2 * 16
    assert cost_of(FeatureGate(16, 1)).multiply_adds == 2 * 16 * 16


def test_a_feature_gate_starts_around_one() -> None:
    torch.manual_seed(0)
    v_BD = torch.randn(200, 64)
    gate_BD = FeatureGate(64, 2)(v_BD) / v_BD
    assert 0.9 < gate_BD.mean() < 1.1
    assert 0.05 < gate_BD.std() < 0.5


def test_gates_name_the_experts_they_weigh() -> None:
    """The weights times the experts of these names, and the self gate's share, are the task's."""
    block, v_BD = _built(num_experts=1), _input()
    shared = block([v_BD])
    place = {
        name: shared.experts[bank][:, column]
        for bank, names in block.expert_names.items()
        for column, name in enumerate(names)
    }
    _, self_gates = block._gates(block.meta(v_BD)[0])
    for task in TASKS:
        total = self_gates[task] * place[f"{task} expert 0"]
        for column, name in enumerate(block.gate_experts[task]):
            total = total + shared.gates[task][:, column, None] * place[name]
        assert torch.allclose(total, shared.tasks[task])


def _schema(*tasks: str) -> Schema:
    return Schema(
        features=(Categorical(name="item", side="item"),),
        tasks=tuple(Binary(name=task) for task in tasks),
    )


def test_groups_that_hold_each_task_are_accepted() -> None:
    _config().check(_schema(*TASKS))


def test_groups_that_do_not_fit_the_tasks_are_refused_all_at_once() -> None:
    with pytest.raises(Faults) as caught:
        _config().check(_schema("watch", "likes", "click", "share", "buy"))
    assert caught.value.faults == (
        (
            "model.sharing.groups.inter.0",
            "group 'inter' must list tasks of the schema, got 'like'. Did you mean 'likes'?",
        ),
        (
            "model.sharing.groups",
            "every task must stand in a group, got 'likes', 'buy' in none. Add to one of inter, "
            "time, or to a new one",
        ),
    )


def test_building_for_other_tasks_is_refused() -> None:
    with pytest.raises(ConfigError, match="group 'inter' must list tasks .* got 'share'"):
        _config().build(InputSpec(width=WIDTH), TASKS[:3])


def test_a_task_in_two_groups_is_refused() -> None:
    groups = {"inter": ["like", "share"], "time": ["watch", "like"]}
    with pytest.raises(ConfigError, match=r"groups.time.1: task 'like' must stand in one group"):
        _config(groups=groups)


@pytest.mark.parametrize("groups", [{}, {"inter": []}])
def test_empty_groups_are_refused(groups: dict[str, list[str]]) -> None:
    with pytest.raises(ConfigError, match="groups"):
        _config(groups=groups)
