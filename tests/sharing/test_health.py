"""What keeps experts in health, over every architecture of gated experts.

Shapes: B rows, E experts.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from polyrank.errors import ConfigError
from polyrank.layers import InputSpec, PackedExperts
from polyrank.schema import parse
from polyrank.sharing import CGC, PLE, SHARINGS, MMoE, OMoE, Shared, Sharing
from polyrank.sharing.gated import Balance, Gated

TASKS = ("click", "like", "watch")
INPUTS = InputSpec(width=12)
COUNTS: dict[type[Gated], dict[str, Any]] = {
    MMoE: {"num_experts": 4},
    OMoE: {"num_experts": 4},
    CGC: {"num_task_experts": 2, "num_shared_experts": 1},
    PLE: {"num_task_experts": 1, "num_shared_experts": 2},
}
KINDS = pytest.mark.parametrize("kind", COUNTS, ids=lambda kind: kind.__name__)


def test_every_architecture_of_gated_experts_is_here() -> None:
    assert set(COUNTS) <= {kind for kind in SHARINGS.values() if issubclass(kind, Gated)}


def _block(kind: type[Gated], seed: int = 0, **settings: Any) -> Sharing:
    torch.manual_seed(seed)
    config = parse(kind, {**COUNTS[kind], "widths": [8, 6], **settings})
    return config.assemble(INPUTS, TASKS).train()


def _rows(count: int = 40) -> Tensor:
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(1))


# Gates.


@KINDS
def test_gate_dropout_drops_at_its_rate_and_renormalises(kind: type[Gated]) -> None:
    block = _block(kind, gate_dropout=0.25)
    x_BD = _rows(4000)
    shared = block([x_BD])
    plain = block.eval()([x_BD])
    for name, gate_BE in shared.gates.items():
        assert torch.allclose(gate_BE.sum(1), torch.ones(len(x_BD)))
        assert (gate_BE == 0).float().mean().item() == pytest.approx(0.25, abs=0.03), name
        assert (plain.gates[name] > 0).all()
        if kind is PLE and name in TASKS:  # the last level reads what lower gates have dropped, too
            continue
        kept_BE = plain.gates[name] * (gate_BE > 0)
        assert torch.allclose(gate_BE, kept_BE / kept_BE.sum(1, keepdim=True), atol=1e-5)


@KINDS
def test_temperature_divides_the_logits(kind: type[Gated]) -> None:
    hot, cold = _block(kind, gate_temperature=4.0).eval(), _block(kind).eval()
    x_BD = _rows()
    for name, gate_BE in hot([x_BD]).gates.items():
        if kind is PLE and not name.startswith("1 "):
            continue  # reads what the level below mixed otherwise
        expected_BE = torch.softmax(cold([x_BD]).gates[name].log() / 4.0, dim=1)
        assert torch.allclose(gate_BE, expected_BE, atol=1e-5)


# Balance.


def _imbalance(block: Sharing, shared: Shared) -> float:
    """The loss in plain loops: by bank, the squared coefficient of variation of the loads."""
    total = 0.0
    for names in block.expert_names.values():
        loads = []
        for name in names:
            shares = [
                gate_BE[:, seen.index(name)].mean().item() * len(seen)
                for (gate, seen) in block.gate_experts.items()
                for gate_BE in [shared.gates[gate]]
                if name in seen
            ]
            loads.append(sum(shares) / len(shares))
        mean = sum(loads) / len(loads)
        total += sum((load - mean) ** 2 for load in loads) / len(loads) / mean**2
    return total


@KINDS
def test_the_balance_loss_is_the_variation_of_the_loads(kind: type[Gated]) -> None:
    block = _block(kind, balance=0.3)
    shared = block([_rows()])
    assert shared.penalty is not None
    assert shared.penalty.item() == pytest.approx(0.3 * _imbalance(block, shared), rel=1e-4)
    assert shared.penalty.item() > 0


def test_where_all_gates_see_all_experts_it_is_that_of_the_mean_weights() -> None:
    shared = _block(MMoE, balance=1.0)([_rows()])
    mean_E = torch.stack([gate.mean(0) for gate in shared.gates.values()]).mean(0)
    assert shared.penalty is not None
    assert shared.penalty.item() == pytest.approx(
        (mean_E.std(correction=0) / mean_E.mean()).square().item(), rel=1e-5
    )


def test_even_gates_lose_nothing_and_one_expert_for_all_the_most() -> None:
    names = ("first", "second", "third", "fourth")
    balance = Balance(1.0, {"experts": names}, {"click": names, "like": names}).train()
    even, first = torch.full((5, 4), 0.25), torch.eye(4)[[0] * 5]
    found = balance({"click": even, "like": even})
    assert found is not None
    assert found.item() == pytest.approx(0, abs=1e-12)
    found = balance({"click": first, "like": first})
    assert found is not None
    assert found.item() == pytest.approx(3.0)
    found = balance({"click": first, "like": torch.eye(4)[[1] * 5]})
    assert found is not None
    assert found.item() == pytest.approx(1.0)


@KINDS
def test_no_row_is_a_penalty_of_zero_with_a_finite_gradient(kind: type[Gated]) -> None:
    block = _block(kind, balance=0.3)
    penalty = block([_rows(0)]).penalty
    assert penalty is not None
    assert penalty.item() == 0
    penalty.backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in block.parameters())


@KINDS
def test_serving_and_a_weight_of_zero_pay_nothing(kind: type[Gated]) -> None:
    assert _block(kind, balance=0.3).eval()([_rows()]).penalty is None
    assert _block(kind)([_rows()]).penalty is None


@KINDS
def test_its_descent_evens_the_loads_out(kind: type[Gated]) -> None:
    block = _block(kind, balance=1.0)
    descent = torch.optim.Adam(block.parameters(), lr=0.02)
    before = _imbalance(block, block([_rows()]))
    for _ in range(30):
        descent.zero_grad()
        penalty = block([_rows()]).penalty
        assert penalty is not None
        penalty.backward()
        descent.step()
    assert _imbalance(block, block([_rows()])) < 0.2 * before


# Experts.


@KINDS
@pytest.mark.parametrize("activation", ["relu", "swish"])
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_every_bank_is_made_as_set(kind: type[Gated], activation: Any, norm: Any) -> None:
    block = _block(kind, activation=activation, norm=norm)
    banks = [module for module in block.modules() if isinstance(module, PackedExperts)]
    total = 0
    for bank in banks:
        before = bank.weights[0].shape[2]
        torch.manual_seed(3)
        twin = PackedExperts(before, (8, 6), bank.num_experts, activation=activation, norm=norm)
        assert list(twin.state_dict()) == list(bank.state_dict())
        twin.load_state_dict(bank.state_dict())
        x_BD = torch.randn(20, before)
        assert torch.equal(twin.train()(x_BD), bank.train()(x_BD))
        total += bank.num_experts
    assert total == sum(len(names) for names in block.expert_names.values())


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"activation": "tanh"}, "activation"),
        ({"norm": "group"}, "norm"),
        ({"balance": -1.0}, "balance"),
        ({"gate_dropout": 1.0}, "gate_dropout"),
        ({"gate_temperature": 0.0}, "gate_temperature"),
    ],
)
@KINDS
def test_settings_out_of_range_are_refused(
    kind: type[Gated], settings: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        parse(kind, settings)
