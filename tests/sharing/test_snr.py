"""SNR against plain loops written from the paper's equations, and its gates against their law.

Shapes: B rows, D input width, N connections' ends, E their starts, H width.
"""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from polyrank.layers import InputSpec, ParallelLayers
from polyrank.layers.parts import part_of
from polyrank.sharing import SNR, snr
from polyrank.sharing.snr import Connections, HardConcrete, SNRBlock
from tests.sharing import plain
from tests.sharing.plain import Row

TASKS = ("click", "like", "watch")
WIDTH = 12
CASES = [
    SNR(num_subnetworks=3, widths=(8, 6)),
    SNR(num_subnetworks=3, widths=(8, 7, 6), connection="aver"),
    SNR(num_subnetworks=4, widths=(8,)),
    SNR(num_subnetworks=1, widths=(8, 6)),
]
BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1


def _build(config: SNR) -> SNRBlock:
    """With gates spread from closed to open."""
    torch.manual_seed(0)
    block = config.assemble(InputSpec(width=WIDTH), TASKS).eval()
    for part in block.modules():
        if isinstance(part, HardConcrete):
            torch.nn.init.normal_(part.log_alpha, std=2.0)
    return block


def _rows() -> Tensor:
    return torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1))


def _gate(log_alpha: float, uniform: float | None, mistake: str = "") -> float:
    """One gate; ``uniform`` is what was drawn for it in training."""
    logit = log_alpha
    if uniform is not None:
        logit = (math.log(uniform) - math.log(1 - uniform) + log_alpha) / BETA
    s = 1 / (1 + math.exp(-logit))
    if mistake == "no stretch":
        return s
    stretched = s * (ZETA - GAMMA) + GAMMA
    return stretched if mistake == "no clip" else min(1.0, max(0.0, stretched))


def _connected(u: list[Row], connections: Connections, z: list[float], mistake: str) -> list[Row]:
    """v_n = Σ_e z_ne W_ne u_e, with the identity for W_ne where there is none."""
    weight, count = connections.weight, len(u)
    outputs = []
    for n in range(len(z) // count):
        gates = z[n * count :][:count]
        if mistake == "gates of another output":
            gates = z[:count]
        rows = u if weight is None else [plain.linear(u[e], weight[n, :, e]) for e in range(count)]
        if mistake == "matrices transposed" and weight is not None:
            rows = [plain.linear(u[e], weight[n, :, e].t()) for e in range(count)]
        outputs.append(plain.weighted(gates, rows))
    return outputs


def oracle(block: SNRBlock, x: Row, draws: list[Row] | None = None, mistake: str = "") -> list[Row]:
    """One row: by task. ``draws`` are those of training, ``mistake`` plants one."""
    u = plain.experts(x, block.first)
    for level, connections in enumerate(block.connections):
        assert isinstance(connections, Connections)
        if level:
            layers = block.levels[level - 1]
            assert isinstance(layers, ParallelLayers)
            u = plain.parallel(u, layers)
        log_alpha = connections.gates.log_alpha.tolist()
        drawn = [None] * len(log_alpha) if draws is None else draws[level]
        z = [_gate(a, noise, mistake) for a, noise in zip(log_alpha, drawn, strict=True)]
        u = _connected(u, connections, z, mistake)
    return u


def _draws(block: SNRBlock) -> list[Row]:
    """What training draws from here on, level by level."""
    gates = [part for part in block.modules() if isinstance(part, HardConcrete)]
    return [torch.rand(len(gate.log_alpha)).tolist() for gate in gates]


def _agrees(config: SNR, mistake: str = "", *, training: bool = False) -> bool:
    block, x_BD = _build(config).train(training), _rows()
    torch.manual_seed(3)
    draws = _draws(block) if training else None
    torch.manual_seed(3)
    found = block([x_BD]).tasks
    expected_BTH = torch.tensor([oracle(block, x, draws, mistake) for x in x_BD.tolist()])
    return all(
        torch.allclose(found[task], expected_BTH[:, place], atol=1e-5)
        for place, task in enumerate(TASKS)
    )


@pytest.mark.parametrize("training", [False, True], ids=["serving", "training"])
@pytest.mark.parametrize("config", CASES, ids=range(len(CASES)))
def test_it_is_the_papers(config: SNR, training: bool) -> None:
    assert _agrees(config, training=training)


@pytest.mark.parametrize("training", [False, True], ids=["serving", "training"])
@pytest.mark.parametrize("mistake", ["no stretch", "no clip", "gates of another output"])
@pytest.mark.parametrize("config", CASES[:3], ids=range(3))
def test_a_planted_mistake_is_noticed(config: SNR, mistake: str, training: bool) -> None:
    assert not _agrees(config, mistake, training=training)


def test_transposed_matrices_are_noticed() -> None:
    assert not _agrees(CASES[0], "matrices transposed")


def test_a_block_without_the_stretch_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snr, "GAMMA", -1e-9)
    monkeypatch.setattr(snr, "ZETA", 1.0)
    assert not any(_agrees(config) for config in CASES)


def _chance_below(t: float, log_alpha: float) -> float:
    """P(z <= t) for 0 <= t < 1 in training, from s <= (t − γ) / (ζ − γ)."""
    q = (t - GAMMA) / (ZETA - GAMMA)
    return 1 / (1 + math.exp(log_alpha - BETA * math.log(q / (1 - q))))


def _frequencies_follow(log_alpha: float, draws: int = 40_000) -> bool:
    torch.manual_seed(0)
    gate = HardConcrete(draws)
    torch.nn.init.constant_(gate.log_alpha, log_alpha)
    z = gate()
    for t in (0.0, 0.25, 0.5, 0.75, 1 - 1e-7):
        chance = _chance_below(t, log_alpha)
        spread = math.sqrt(chance * (1 - chance) / draws)
        if abs((z <= t).float().mean().item() - chance) > 4.5 * spread:
            return False
    return bool((z >= 0).all()) and bool((z <= 1).all())


@pytest.mark.parametrize("log_alpha", [-3.0, -0.7, 0.0, 1.5])
def test_gates_are_drawn_from_the_stretched_distribution(log_alpha: float) -> None:
    assert _frequencies_follow(log_alpha)


def test_another_stretch_or_temperature_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("BETA", 1.0), ("GAMMA", 0.0), ("ZETA", 1.0)):
        with monkeypatch.context() as patch:
            patch.setattr(snr, name, value)
            assert not _frequencies_follow(0.5), name


@pytest.mark.parametrize("log_alpha", [-4.0, -1.0, 0.0, 2.0])
def test_the_expected_number_of_open_gates_is_the_closed_form(log_alpha: float) -> None:
    gate = HardConcrete(20_000)
    torch.nn.init.constant_(gate.log_alpha, log_alpha)
    chance = 1 - _chance_below(0.0, log_alpha)
    assert gate.expected_open().item() == pytest.approx(20_000 * chance, rel=1e-4)
    torch.manual_seed(0)
    seen = (gate() > 0).sum().item()
    assert seen == pytest.approx(20_000 * chance, abs=4.5 * math.sqrt(20_000 * chance))


def test_a_new_gate_is_open_in_five_of_six_draws() -> None:
    torch.manual_seed(0)
    assert HardConcrete(600).expected_open().item() == pytest.approx(500, rel=0.01)


def test_the_most_extreme_draws_stay_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = HardConcrete(2)
    monkeypatch.setattr(torch, "rand_like", lambda _: torch.tensor([0.0, 1.0]))
    z = gate()
    z.sum().backward()
    assert z.tolist() == [0.0, 1.0]
    assert gate.log_alpha.grad is not None
    assert gate.log_alpha.grad.isfinite().all()


def test_the_penalty_weighs_every_connection() -> None:
    config = SNR(num_subnetworks=3, widths=(8, 6), penalty_weight=0.5)
    block = _build(config)
    expected = sum(
        1 - _chance_below(0.0, log_alpha)
        for part in block.modules()
        if isinstance(part, HardConcrete)
        for log_alpha in part.log_alpha.tolist()
    )
    penalty = block([_rows()]).penalty
    assert penalty is not None
    assert penalty.item() == pytest.approx(0.5 * expected, rel=1e-5)
    penalty.backward()
    gates = [part for part in block.modules() if isinstance(part, HardConcrete)]
    assert sum(len(gate.log_alpha) for gate in gates) == 3 * 3 + 3 * 3
    for gate in gates:
        assert gate.log_alpha.grad is not None
        assert (gate.log_alpha.grad > 0).all()


def test_all_rows_of_a_batch_take_the_same_routes() -> None:
    block = _build(CASES[0]).train()
    output_BH = block([_rows()[:1].expand(4, -1)]).tasks["click"]
    assert torch.allclose(output_BH, output_BH[:1].expand(4, -1), atol=1e-6)


def test_training_draws_and_serving_does_not() -> None:
    block, views = _build(CASES[0]), [_rows()]
    before = torch.get_rng_state()
    assert torch.equal(block(views).tasks["click"], block(views).tasks["click"])
    assert torch.equal(torch.get_rng_state(), before)
    block.train()
    assert not torch.equal(block(views).tasks["click"], block(views).tasks["click"])


@pytest.mark.parametrize("training", [False, True], ids=["serving", "training"])
def test_averages_are_transformations_by_the_identity(training: bool) -> None:
    def built(connection: Literal["trans", "aver"]) -> SNRBlock:
        return _build(SNR(num_subnetworks=3, widths=(8, 6), connection=connection))

    trans, aver = built("trans"), built("aver")
    trans.load_state_dict(aver.state_dict(), strict=False)
    for connections in trans.connections:
        assert isinstance(connections, Connections)
        assert connections.weight is not None
        ends, width, starts, _ = connections.weight.shape
        same = torch.eye(width)[None, :, None, :].expand(ends, -1, starts, -1)
        connections.weight.data.copy_(same)
    found = []
    for block in (trans, aver):
        torch.manual_seed(5)
        found.append(block.train(training)([_rows()]).tasks)
    for task in TASKS:
        assert torch.allclose(found[0][task], found[1][task], atol=1e-6)


def test_sub_networks_are_named() -> None:
    block = _build(SNR(num_subnetworks=2, widths=(8, 6)))
    assert block.expert_names == {
        "1 experts": ("1 sub-network 0", "1 sub-network 1"),
        "experts": ("sub-network 0", "sub-network 1"),
    }
    shared = block([_rows()])
    assert shared.fork[0] is shared.experts["experts"]


@pytest.mark.parametrize(
    ("connection", "expected"), [("trans", "3 × 2 × (8 → 8)"), ("aver", "3 × 2")]
)
def test_connections_are_told_by_their_ends(
    connection: Literal["trans", "aver"], expected: str
) -> None:
    block = _build(SNR(num_subnetworks=2, widths=(8,), connection=connection))
    assert part_of("connections", block.connections[0]).shape == expected
