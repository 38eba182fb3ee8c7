"""PEPNet against plain loops, where its gradients stop, and which features it finds.

Shapes: B rows, D input width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from polyrank.errors import ConfigError
from polyrank.layers import Block, InputSpec
from polyrank.schema import Binary, Categorical, Faults, Numeric, Schema, parse
from polyrank.sharing import PEPNet
from polyrank.sharing import pepnet as module
from polyrank.sharing.pepnet import GateNU, PEPNetBlock, PersonalTrunk
from tests.sharing import plain
from tests.sharing.plain import Row

TASKS = ("click", "like", "watch")
WIDTH = 16
INPUTS = InputSpec(
    width=WIDTH,
    blocks=(
        Block(name="user", side="user", start=0, stop=4),
        Block(name="age", side="user", start=4, stop=5),
        Block(name="age?missing", side="user", start=5, stop=6),
        Block(name="item", side="item", start=6, stop=10),
        Block(name="tab", side="context", start=10, stop=13),
    ),
)
DOMAIN, PRIORS = [10, 11, 12], [6, 7, 8, 9, 4, 5]
"""The columns of ``tab``; those of ``item`` and ``age``."""


def _config(**changed: Any) -> PEPNet:
    named = {"kind": "pepnet", "domain": ["tab"], "priors": ["item", "age"]}
    sizes = {"widths": [12, 8], "gate_widths": [6]}
    return parse(PEPNet, {**named, **sizes, **changed})


def _built(**changed: Any) -> PEPNetBlock:
    torch.manual_seed(0)
    return _config(**changed).assemble(INPUTS, TASKS).double()


def _input() -> Tensor:
    torch.manual_seed(3)
    return torch.randn(4, WIDTH, dtype=torch.float64)


def _gate(x: Row, gate: GateNU) -> Row:
    return [2.0 * value for value in plain.sigmoid(plain.mlp(x, gate.layers, linear_last=True))]


def _gated(block: PEPNetBlock, x: Row, stopped: Row) -> Row:
    return plain.times(x, _gate([*(x[c] for c in DOMAIN), *stopped], block.embedding_gate))


def _by_loops(block: PEPNetBlock, task: int, x: Row, frozen: Row) -> Row:
    """The equations for a row; what passes no gradient is computed from ``frozen``."""
    h, stopped = _gated(block, x, frozen), _gated(block, frozen, frozen)
    trunk = block.trunks[task]
    assert isinstance(trunk, PersonalTrunk)
    for layer, gate in zip(trunk.layers, trunk.gates, strict=True):
        h = plain.mlp(h, layer)  # type: ignore[arg-type]
        person = [*(x[c] for c in PRIORS), *stopped]
        h = plain.times(h, _gate(person, gate))  # type: ignore[arg-type]
    return h


def _agree(block: PEPNetBlock) -> None:
    x_BD = _input()
    shared = block([x_BD])
    for place, task in enumerate(TASKS):
        expected = [_by_loops(block, place, x, x) for x in x_BD.tolist()]
        assert torch.allclose(shared.tasks[task].float(), torch.tensor(expected), atol=1e-5)


@pytest.mark.parametrize("gate_widths", [[6], [7, 5]])
def test_embedding_and_layers_are_gated(gate_widths: list[int]) -> None:
    _agree(_built(gate_widths=gate_widths))


def test_a_gate_without_gamma_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GAMMA", 1.0)
    with pytest.raises(AssertionError):
        _agree(_built())


def test_an_undecided_gate_leaves_things_as_they_are() -> None:
    gate = GateNU(5, (4,), 3)
    for parameter in gate.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(gate(torch.randn(2, 5)), torch.ones(2, 3))


def _stops(block: PEPNetBlock) -> None:
    """The gradient of the input is that of the loops with what is stopped held still."""
    x_BD = _input()[:1].requires_grad_()
    block([x_BD]).tasks["like"].square().sum().backward()
    row: Row = x_BD[0].tolist()

    def loss(x: Row) -> float:
        return sum(value**2 for value in _by_loops(block, 1, x, row))

    assert x_BD.grad is not None
    assert torch.allclose(x_BD.grad[0], plain.slope(loss, row), atol=1e-6)


def test_gradients_stop_where_a_gate_reads_what_it_scales() -> None:
    _stops(_built())


@pytest.mark.parametrize("missing", ["embedding", "layers"])
def test_a_missing_stop_would_be_noticed(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = module._behind
    count = {"embedding": len(DOMAIN), "layers": len(PRIORS)}[missing]

    def wrong(x_BD: Tensor, columns: Sequence[slice], stopped_BD: Tensor) -> Tensor:
        if sum(own.stop - own.start for own in columns) != count:
            return right(x_BD, columns, stopped_BD)
        return torch.cat([*(x_BD[:, own] for own in columns), stopped_BD], dim=1)

    monkeypatch.setattr(module, "_behind", wrong)
    _agree(_built())
    with pytest.raises(AssertionError):
        _stops(_built())


def test_columns_that_were_mixed_are_refused() -> None:
    with pytest.raises(ConfigError, match="model.interaction: pepnet must find .*dcn_v2"):
        _config().build(InputSpec(width=WIDTH), TASKS)


def test_a_feature_that_the_input_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sharing.priors.1: .*got 'agee'. Did you mean 'age'"):
        _config(priors=["item", "agee"]).build(INPUTS, TASKS)


def _schema() -> Schema:
    return Schema(
        features=(
            Categorical(name="item", side="item"),
            Categorical(name="tab", side="context"),
            Numeric(name="age", side="user"),
        ),
        tasks=(Binary(name="click"),),
    )


def test_features_of_the_schema_are_accepted() -> None:
    _config().check(_schema())


def test_features_that_the_schema_lacks_are_refused_all_at_once() -> None:
    with pytest.raises(Faults) as caught:
        _config(domain=["tabb"], priors=["age", "item_id"]).check(_schema())
    assert [path for path, _ in caught.value.faults] == [
        "model.sharing.domain.0",
        "model.sharing.priors.1",
    ]
    assert "got 'tabb'. Did you mean 'tab'?" in str(caught.value)
    assert "got 'item_id'. Did you mean 'item'?" in str(caught.value)


@pytest.mark.parametrize("key", ["domain", "priors"])
def test_a_feature_named_twice_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}.1: must name each feature once, got 'tab' again"):
        _config(**{key: ["tab", "tab"]})


@pytest.mark.parametrize("key", ["domain", "priors", "widths", "gate_widths"])
def test_an_empty_list_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        _config(**{key: []})
