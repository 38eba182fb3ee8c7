"""AdaTT against plain loops written from the paper's equations.

Shapes: B rows, D input width, E experts.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polyrank.layers import Gates, InputSpec, PackedExperts
from polyrank.layers.experts import Activation, Norm
from polyrank.sharing import AdaTT
from polyrank.sharing.adatt import AdaTTBlock, Experts, Fusion
from tests.sharing import plain
from tests.sharing.plain import Row

TASKS = ("click", "like", "watch")
ALL = "all tasks"
WIDTH = 12
CASES = [
    AdaTT(num_experts=2, widths=(WIDTH, 6)),
    AdaTT(num_experts=1, widths=(8, 7, 6)),
    AdaTT(num_experts=2, num_shared_experts=3, widths=(WIDTH, 8)),
    AdaTT(num_experts=1, num_shared_experts=2, widths=(8, 6)),
    AdaTT(num_experts=3, num_shared_experts=1, widths=(8,)),
]


def _build(config: AdaTT, tasks: tuple[str, ...] = TASKS) -> AdaTTBlock:
    torch.manual_seed(0)
    return config.assemble(InputSpec(width=WIDTH), tasks).eval()


def _rows() -> Tensor:
    return torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1))


def _level(block: AdaTTBlock, level: int) -> tuple[list[PackedExperts], Fusion]:
    experts, fusion = block.experts[level], block.fusions[level]
    assert isinstance(experts, Experts)
    assert isinstance(fusion, Fusion)
    return [bank for bank in experts.banks if isinstance(bank, PackedExperts)], fusion


def _experts(
    counts: dict[str, int], banks: list[PackedExperts], inputs: dict[str, Row]
) -> dict[str, list[Row]]:
    """By unit, the outputs of its experts."""
    if len(banks) == len(counts) > 1:
        return {
            unit: plain.experts(inputs[unit], bank)
            for unit, bank in zip(counts, banks, strict=True)
        }
    outputs = iter(plain.experts(inputs[TASKS[0]], banks[0]))
    return {unit: [next(outputs) for _ in range(count)] for unit, count in counts.items()}


def _gates(fusion: Fusion) -> list[Tensor]:
    """By unit, (E, D)."""
    return [
        own
        for gates in fusion.gates
        if isinstance(gates, Gates)
        for own in gates.weight.split(gates.num_experts)
    ]


def _residual(
    unit: str, own: Row, experts: dict[str, list[Row]], mistake: str, width: int
) -> list[float]:
    if mistake == "no residual":
        return [0.0] * width
    if mistake == "the residual is the experts' sum":
        own = [1.0] * len(own)
    if mistake == "the residual is of another task":
        unit = TASKS[(TASKS.index(unit) + 1) % len(TASKS)] if unit in TASKS else unit
    return plain.weighted(own, experts[unit])


def oracle(config: AdaTT, block: AdaTTBlock, x: Row, mistake: str = "") -> dict[str, Row]:
    """f_t^l = g_t(f_t^{l-1}) E^l + v_t E_t^l for one row. ``mistake`` plants one."""
    counts = dict.fromkeys(TASKS, config.num_experts)
    if config.num_shared_experts:
        counts[ALL] = config.num_shared_experts
    inputs = dict.fromkeys(counts, x)
    for level, width in enumerate(config.widths):
        banks, fusion = _level(block, level)
        experts = _experts(counts, banks, inputs)
        everything = [output for unit in counts for output in experts[unit]]
        learned, fused = iter(fusion.own), {}
        units = [unit for unit in counts if unit != ALL or level < len(config.widths) - 1]
        for unit, gate_ED in zip(units, _gates(fusion), strict=True):
            own = next(learned).tolist() if counts[unit] > 1 else [1.0]
            asked = inputs[unit]
            if mistake == "gates read another task's input":
                asked = inputs[TASKS[0]]
            if mistake == "gates read the input representation" and len(asked) == WIDTH:
                asked = x
            gate = plain.softmax(plain.linear(asked, gate_ED))
            residual = _residual(unit, own, experts, mistake, width)
            fused[unit] = plain.plus(plain.weighted(gate, everything), residual)
        inputs = fused
    return inputs


def _agrees(config: AdaTT, mistake: str = "") -> bool:
    block, x_BD = _build(config), _rows()
    shared = block([x_BD])
    expected = [oracle(config, block, x, mistake) for x in x_BD.tolist()]
    return all(
        torch.allclose(shared.tasks[task], torch.tensor([row[task] for row in expected]), atol=1e-5)
        for task in TASKS
    )


@pytest.mark.parametrize("config", CASES, ids=range(len(CASES)))
def test_it_is_the_papers(config: AdaTT) -> None:
    assert _agrees(config)


@pytest.mark.parametrize(
    "mistake",
    [
        "no residual",
        "the residual is the experts' sum",
        "the residual is of another task",
        "gates read another task's input",
        "gates read the input representation",
    ],
)
@pytest.mark.parametrize("config", [CASES[0], CASES[2]], ids=["sp", "shared"])
def test_a_planted_mistake_is_noticed(config: AdaTT, mistake: str) -> None:
    assert not _agrees(config, mistake)


def test_a_block_without_its_residual_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = Fusion.own_weights
    monkeypatch.setattr(Fusion, "own_weights", lambda self: 0.0 * weights(self))
    assert not any(_agrees(config) for config in CASES)


def test_a_block_whose_gates_read_the_wrong_input_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = Fusion.forward

    def wrong(
        self: Fusion, sources: list[Tensor], experts_BEH: Tensor
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        return forward(self, sources[::-1], experts_BEH)

    monkeypatch.setattr(Fusion, "forward", wrong)
    assert not any(_agrees(config) for config in CASES if len(config.widths) > 1)


@pytest.mark.parametrize("count", [2, 4, 9])
def test_own_weights_start_uniform_within_the_root_of_one_over_the_experts(count: int) -> None:
    torch.manual_seed(0)
    units = {f"task{place}": count for place in range(200)}
    fusion = Fusion(2, units, 200 * count, first=True, config=AdaTT())
    own = torch.cat(list(fusion.own))
    bound = (1 / count) ** 0.5
    assert len(own) == 200 * count
    assert own.abs().max() <= bound
    for quarter in range(4):
        low = bound * (quarter / 2 - 1)
        within = ((own >= low) & (own < low + bound / 2)).float().mean().item()
        assert within == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / len(own)) ** 0.5)


def test_a_single_expert_is_added_as_it_is_and_has_no_weight_to_learn() -> None:
    block = _build(CASES[1])
    for level in range(3):
        fusion = _level(block, level)[1]
        assert len(fusion.own) == 0
        assert torch.equal(fusion.own_weights(), torch.eye(3))


def test_who_sees_whom() -> None:
    config = AdaTT(num_experts=1, num_shared_experts=1, widths=(8, 8))
    block = _build(config, ("click", "like"))
    first = ("1 click expert 0", "1 like expert 0", "1 expert 0 of all tasks")
    last = ("click expert 0", "like expert 0", "expert 0 of all tasks")
    assert block.expert_names == {"1 experts": first, "experts": last}
    assert block.gate_experts == {
        "1 click": first,
        "1 like": first,
        "1 all tasks": first,
        "click": last,
        "like": last,
    }


def test_a_task_keeps_more_of_its_own_experts_than_its_gate_gives() -> None:
    """The gates given are without the residual."""
    block = _build(AdaTT(num_experts=1, widths=(8,)))
    shared = block([_rows()])
    for place, task in enumerate(TASKS):
        mixed = torch.bmm(shared.gates[task][:, None], shared.experts["experts"])[:, 0]
        own = shared.experts["experts"][:, place]
        assert torch.allclose(shared.tasks[task], mixed + own, atol=1e-6)


# What keeps experts in health.


@pytest.mark.parametrize("activation", ["relu", "swish"])
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_every_bank_is_made_as_set(activation: Activation, norm: Norm) -> None:
    config = AdaTT(num_shared_experts=1, widths=(8, 6), activation=activation, norm=norm)
    block = _build(config).train()
    for level, width in enumerate(config.widths):
        for bank in _level(block, level)[0]:
            before = bank.weights[0].shape[2]
            twin = PackedExperts(
                before, (width,), bank.num_experts, activation=activation, norm=norm
            )
            twin.load_state_dict(bank.state_dict())
            x_BD = torch.randn(20, before)
            assert torch.equal(twin.train()(x_BD), bank(x_BD))


def test_every_gate_is_made_as_set() -> None:
    block = _build(AdaTT(widths=(8, 6), gate_dropout=0.25, gate_temperature=2.0))
    gates = [part for part in block.modules() if isinstance(part, Gates)]
    assert {(gate.dropout, gate.temperature) for gate in gates} == {(0.25, 2.0)}
    assert [len(gate.names) for gate in gates] == [3, 1, 1, 1]


def test_the_balance_loss_is_the_variation_of_each_levels_mean_weights() -> None:
    block = _build(AdaTT(num_shared_experts=1, widths=(8, 6), balance=0.3)).train()
    shared = block([_rows()])
    expected = 0.0
    for names in (["1 click", "1 like", "1 watch", "1 all tasks"], list(TASKS)):
        mean_E = torch.stack([shared.gates[name].mean(0) for name in names]).mean(0)
        expected += 0.3 * (mean_E.std(correction=0) / mean_E.mean()).square().item()
    assert shared.penalty is not None
    assert shared.penalty.item() == pytest.approx(expected, rel=1e-5)
