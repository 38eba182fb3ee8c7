"""Gates and the gated sum against plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from polyrank.errors import ConfigError
from polyrank.layers import Gates, mix

NAMES = ("click", "like")


def one_by_one(gates: Gates, x_BD: Tensor, temperature: float) -> dict[str, list[list[float]]]:
    """The definition, a number at a time."""
    weight = gates.weight.view(len(gates.names), gates.num_experts, -1)
    result: dict[str, list[list[float]]] = {}
    for place, name in enumerate(gates.names):
        result[name] = []
        for x in x_BD:
            powers = [
                math.exp((weight[place, e] * x).sum().item() / temperature)
                for e in range(gates.num_experts)
            ]
            result[name].append([power / sum(powers) for power in powers])
    return result


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_gates_are_softmaxes_of_their_own_rows(temperature: float) -> None:
    torch.manual_seed(0)
    gates = Gates(5, NAMES, 3, temperature=temperature).double()
    x_BD = torch.randn(7, 5, dtype=torch.float64)
    wanted = one_by_one(gates, x_BD, temperature)
    found = gates(x_BD)
    assert list(found) == list(NAMES)
    for name in NAMES:
        torch.testing.assert_close(found[name], torch.tensor(wanted[name], dtype=torch.float64))


def test_a_higher_temperature_evens_the_gates_out() -> None:
    torch.manual_seed(0)
    x_BD = torch.randn(7, 5)
    cold, warm = Gates(5, NAMES, 3), Gates(5, NAMES, 3, temperature=4.0)
    warm.load_state_dict(cold.state_dict())
    assert (warm(x_BD)["click"].max(1).values < cold(x_BD)["click"].max(1).values).all()


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    gates = Gates(4, NAMES, 3).double()
    x_BD = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    experts_BEH = torch.randn(3, 3, 5, dtype=torch.float64, requires_grad=True)

    def call(x_BD: Tensor, experts_BEH: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        found: dict[str, Tensor] = torch.func.functional_call(gates, {"weight": weight}, (x_BD,))
        return tuple(mix(experts_BEH, found).values())

    assert torch.autograd.gradcheck(call, (x_BD, experts_BEH, gates.weight))


def test_the_mixture_is_the_weighted_sum() -> None:
    torch.manual_seed(0)
    experts_BEH = torch.randn(6, 3, 4, dtype=torch.float64)
    gates = {name: torch.rand(6, 3, dtype=torch.float64) for name in NAMES}
    mixed = mix(experts_BEH, gates)
    assert list(mixed) == list(NAMES)
    for name in NAMES:
        for row in range(6):
            wanted = sum(
                (gates[name][row, e] * experts_BEH[row, e] for e in range(3)),
                torch.zeros(4, dtype=torch.float64),
            )
            torch.testing.assert_close(mixed[name][row], wanted)


def test_dropout_zeroes_experts_and_renormalises_the_rest() -> None:
    torch.manual_seed(0)
    gates = Gates(5, NAMES, 4, dropout=0.3)
    x_BD = torch.randn(4000, 5)
    dropped = gates.train()(x_BD)
    plain = gates.eval()(x_BD)
    for name in NAMES:
        kept = dropped[name] > 0
        torch.testing.assert_close(dropped[name].sum(1), torch.ones(4000))
        wanted = plain[name] * kept / (plain[name] * kept).sum(1, keepdim=True)
        torch.testing.assert_close(dropped[name], wanted)
        # All four are dropped in 0.3^4 of the rows, and then all are kept.
        share = 1 - float(kept.float().mean())
        assert share == pytest.approx(0.3 - 0.3**4, abs=0.015)
    assert not torch.equal(dropped["click"] > 0, dropped["like"] > 0)


def test_where_every_expert_is_dropped_all_are_kept() -> None:
    torch.manual_seed(0)
    gates = Gates(5, ["click"], 2, dropout=0.99)
    x_BD = torch.randn(500, 5)
    dropped, plain = gates.train()(x_BD)["click"], gates.eval()(x_BD)["click"]
    both = (dropped > 0).all(1)
    assert both.float().mean() > 0.9
    assert torch.equal(dropped[both], plain[both])
    assert dropped.isfinite().all()


def test_dropout_draws_nothing_in_evaluation() -> None:
    gates = Gates(5, NAMES, 4, dropout=0.5).eval()
    x_BD = torch.randn(3, 5)
    before = torch.get_rng_state()
    assert torch.equal(gates(x_BD)["like"], gates(x_BD)["like"])
    assert torch.equal(before, torch.get_rng_state())


def test_a_dropped_expert_gets_no_gradient() -> None:
    torch.manual_seed(0)
    gates = Gates(5, ["click"], 3, dropout=0.5).train()
    experts_BEH = torch.randn(50, 3, 4, requires_grad=True)
    weights = gates(torch.randn(50, 5))
    mix(experts_BEH, weights)["click"].sum().backward()
    assert experts_BEH.grad is not None
    assert torch.equal(experts_BEH.grad.any(2), weights["click"] > 0)
    assert gates.weight.grad is not None
    assert gates.weight.grad.isfinite().all()


def test_gates_are_float32_under_autocast_and_the_mixture_is_not() -> None:
    torch.manual_seed(0)
    gates = Gates(16, NAMES, 3)
    x_BD = torch.randn(40, 16)
    experts_BEH = torch.randn(40, 3, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = gates(x_BD)
        mixed = mix(experts_BEH, found)
    assert found["click"].dtype == torch.float32
    assert mixed["click"].dtype == torch.bfloat16
    torch.testing.assert_close(found["click"].sum(1), torch.ones(40))
    torch.testing.assert_close(found["click"], gates(x_BD)["click"], rtol=0.05, atol=0.01)


def test_the_mixture_takes_the_precision_of_the_experts() -> None:
    experts_BEH = torch.ones(2, 3, 4, dtype=torch.bfloat16)
    mixed = mix(experts_BEH, {"click": torch.full((2, 3), 0.25)})["click"]
    assert torch.equal(mixed, torch.full((2, 4), 0.75, dtype=torch.bfloat16))


def test_few_gates_on_an_odd_width_have_the_same_bits_at_every_place() -> None:
    torch.manual_seed(0)
    gates = Gates(333, NAMES, 3).eval()
    x_BD = torch.randn(512, 333)
    whole = gates(x_BD)["click"]
    place = torch.randperm(512)
    assert torch.equal(gates(x_BD[place])["click"], whole[place])


def test_extreme_inputs_stay_finite() -> None:
    gates = Gates(4, NAMES, 3)
    weights = gates(torch.full((2, 4), 1e30))["click"]
    assert weights.isfinite().all()
    torch.testing.assert_close(weights.sum(1), torch.ones(2))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"names": ()}, "names"),
        ({"names": ("click", "click")}, "names"),
        ({"num_experts": 0}, "num_experts"),
        ({"in_width": 0}, "in_width"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
    ],
)
def test_impossible_values_are_refused(changed: dict[str, object], named: str) -> None:
    values: dict[str, object] = {"in_width": 4, "names": NAMES, "num_experts": 2, **changed}
    with pytest.raises(ConfigError, match=f"`{named}` must .*, got"):
        Gates(**values)  # type: ignore[arg-type]
