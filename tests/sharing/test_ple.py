"""PLE and CGC against plain loops written from equations 1 to 7 of the paper.

Shapes: B rows, D input width.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from polyrank.layers import Gates, InputSpec, PackedExperts
from polyrank.sharing import CGC, PLE, Sharing
from polyrank.sharing.extraction import Extraction, Reader
from tests.sharing import plain
from tests.sharing.plain import Row

TASKS = ("click", "like", "watch")
ALL = "all tasks"
WIDTH = 12
INPUTS = InputSpec(width=WIDTH)
CASES: list[CGC | PLE] = [
    PLE(num_task_experts=2, num_shared_experts=1, widths=(6,)),
    PLE(num_task_experts=1, num_shared_experts=3, widths=(8, 5)),
    PLE(num_levels=3, num_task_experts=1, num_shared_experts=2, widths=(6,)),
    CGC(num_task_experts=2, num_shared_experts=3, widths=(7, 4)),
]
CONFIGS = pytest.mark.parametrize("config", CASES, ids=lambda config: f"{config.kind}")


def _build(config: CGC | PLE, tasks: tuple[str, ...] = TASKS) -> Extraction:
    torch.manual_seed(0)
    return config.assemble(INPUTS, tasks).eval()


def _rows() -> Tensor:
    return torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1))


def _readers(block: Extraction, level: int) -> Iterator[tuple[PackedExperts, list[Gates]]]:
    readers = block.levels[level].readers
    assert isinstance(readers, torch.nn.ModuleList)
    for reader in readers:
        assert isinstance(reader, Reader)
        gates = [gate for gate in reader.gates if isinstance(gate, Gates)]
        yield reader.experts, gates


def _experts(
    config: CGC | PLE, block: Extraction, level: int, inputs: dict[str, Row]
) -> dict[str, list[Row]]:
    """By task, or all of them: the outputs of the experts, each from its owner's input."""
    tasks = [name for name in inputs if name != ALL]
    readers = list(_readers(block, level))
    if level:
        return {
            name: plain.experts(inputs[name], experts)
            for (experts, _), name in zip(readers, [*tasks, ALL], strict=True)
        }
    ((experts, _),) = readers
    assert all(inputs[task] == inputs[ALL] for task in tasks)
    outputs = plain.experts(inputs[ALL], experts)
    own = config.num_task_experts
    found = {task: outputs[place * own :][:own] for place, task in enumerate(tasks)}
    return {**found, ALL: outputs[own * len(tasks) :]}


def _gate(block: Extraction, level: int, name: str) -> Tensor:
    """The weight of a gate: (its experts, D)."""
    prefix = "" if level == len(block.levels) - 1 else f"{level + 1} "
    for _, gates in _readers(block, level):
        for gate in gates:
            if f"{prefix}{name}" in gate.names:
                place = gate.names.index(f"{prefix}{name}")
                return gate.weight[place * gate.num_experts :][: gate.num_experts]
    raise AssertionError(name)


def oracle(
    config: CGC | PLE, block: Extraction, tasks: tuple[str, ...], x: Row, mistake: str = ""
) -> dict[str, Row]:
    """One row. ``mistake`` plants one."""
    inputs = dict.fromkeys((*tasks, ALL), x)
    for level in range(len(block.levels)):
        last = level == len(block.levels) - 1
        experts = _experts(config, block, level, inputs)
        mixed = {}
        for task in tasks:
            seen = [*experts[task], *experts[ALL]]
            asked = inputs[tasks[0] if mistake == "gates read another task's input" else task]
            if mistake == "gates read the shared input":
                asked = inputs[ALL]
            gate = plain.softmax(plain.linear(asked, _gate(block, level, task)))
            if mistake == "own experts unseen":
                gate = [0.0] * len(experts[task]) + gate[len(experts[task]) :]
            mixed[task] = plain.weighted(gate, seen)
        if not last:
            seen = [output for name in (*tasks, ALL) for output in experts[name]]
            logits = plain.linear(inputs[ALL], _gate(block, level, ALL))
            if mistake == "the shared gate sees the shared experts only":
                logits, seen = logits[-len(experts[ALL]) :], experts[ALL]
            mixed[ALL] = plain.weighted(plain.softmax(logits), seen)
        inputs = mixed
    return inputs


def _agrees(config: CGC | PLE, tasks: tuple[str, ...] = TASKS, mistake: str = "") -> bool:
    block, x_BD = _build(config, tasks), _rows()
    shared = block([x_BD])
    expected = [oracle(config, block, tasks, x, mistake) for x in x_BD.tolist()]
    return all(
        torch.allclose(shared.tasks[task], torch.tensor([row[task] for row in expected]), atol=1e-5)
        for task in tasks
    )


@CONFIGS
@pytest.mark.parametrize("count", [1, 2, 3])
def test_it_is_the_papers(config: CGC | PLE, count: int) -> None:
    assert _agrees(config, TASKS[:count])


@pytest.mark.parametrize(
    "mistake",
    [
        "gates read another task's input",
        "gates read the shared input",
        "the shared gate sees the shared experts only",
        "own experts unseen",
    ],
)
def test_a_planted_mistake_is_noticed(mistake: str) -> None:
    assert not _agrees(CASES[0], mistake=mistake)
    assert not _agrees(CASES[2], mistake=mistake)


def test_a_block_whose_gates_read_the_wrong_input_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = Reader.forward

    def wrong(self: Reader, source: Tensor, asked: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return forward(self, source, asked.flip(1))

    monkeypatch.setattr(Reader, "forward", wrong)
    assert not any(_agrees(config) for config in CASES)


def test_cgc_is_ple_of_one_level() -> None:
    cgc = _build(CGC(num_task_experts=2, num_shared_experts=3, widths=(8,)))
    ple = _build(PLE(num_levels=1, num_task_experts=2, num_shared_experts=3, widths=(8,)))
    assert list(cgc.state_dict()) == list(ple.state_dict())
    x_BD = _rows()
    for task, output in cgc([x_BD]).tasks.items():
        assert torch.equal(ple([x_BD]).tasks[task], output)


def test_who_sees_whom() -> None:
    block = _build(PLE(num_task_experts=1, num_shared_experts=1, widths=(8,)), ("click", "like"))
    assert block.gate_experts == {
        "1 click": ("1 click expert 0", "1 expert 0 of all tasks"),
        "1 like": ("1 like expert 0", "1 expert 0 of all tasks"),
        "1 all tasks": ("1 click expert 0", "1 like expert 0", "1 expert 0 of all tasks"),
        "click": ("click expert 0", "expert 0 of all tasks"),
        "like": ("like expert 0", "expert 0 of all tasks"),
    }
    assert block.expert_names == {
        "1 experts": ("1 click expert 0", "1 like expert 0", "1 expert 0 of all tasks"),
        "experts": ("click expert 0", "like expert 0", "expert 0 of all tasks"),
    }


@CONFIGS
def test_gates_and_experts_given_are_those_that_are_mixed(config: CGC | PLE) -> None:
    """The last level's result, from what the block says of it."""
    block: Sharing = _build(config)
    shared = block([_rows()])
    bank = dict(
        zip(block.expert_names["experts"], shared.experts["experts"].unbind(1), strict=True)
    )
    for task in TASKS:
        parts = zip(shared.gates[task].unbind(1), block.gate_experts[task], strict=True)
        mixed = torch.stack([weight[:, None] * bank[name] for weight, name in parts]).sum(0)
        assert torch.allclose(shared.tasks[task], mixed, atol=1e-6)


def test_a_task_called_shared_or_all_is_kept_apart() -> None:
    tasks = ("shared", "all", "type")
    assert _agrees(CASES[0], tasks)
    block = _build(CASES[0], tasks)
    names = [name for bank in block.expert_names.values() for name in bank]
    assert len(set(names)) == len(names)


def test_experts_of_a_task_get_no_gradient_from_another_in_the_last_level() -> None:
    block = _build(CASES[0]).train()
    block([_rows()]).tasks["click"].sum().backward()
    readers = list(_readers(block, 1))
    for (experts, gates), name in zip(readers, [*TASKS, ALL], strict=True):
        for parameter in (*experts.parameters(), *(w for g in gates for w in g.parameters())):
            touched = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
            assert touched == (name in ("click", ALL)), name
