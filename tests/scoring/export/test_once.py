"""The user's side once: the same predictions, without the user's multiplications for every row.

Shapes: N rows, R users.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram, export
from torch.utils.flop_counter import FlopCounterMode

from polyrank.data.layout import IdColumn, Layout, NumericColumn, TargetStats
from polyrank.interactions import INTERACTIONS
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.schema import Binary, Categorical, Numeric, Schema, parse
from polyrank.scoring.export.cutting import cut_products
from polyrank.scoring.export.network import Inputs, Network
from polyrank.scoring.export.once import compute_once
from polyrank.sharing import SHARINGS, SharedBottom
from tests.contract.test_interactions_contract import CASES as INTERACTION_CASES
from tests.contract.test_sharings_contract import CASES as SHARING_CASES
from tests.contract.test_sharings_contract import config_of, kind_of

# torch copies a graph by a class that it warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

TASKS = ("click", "like")
SCHEMA = Schema(
    features=(
        Categorical(name="hour", side="context", min_frequency=1),
        Categorical(name="item", side="item", min_frequency=1),
        Categorical(name="user", side="user", min_frequency=1),
        Numeric(name="age", side="user"),
        Numeric(name="price", side="item"),
    ),
    tasks=tuple(Binary(name=name) for name in TASKS),
)
LAYOUT = Layout(
    ids=(
        IdColumn(name="hour", side="context"),
        IdColumn(name="item", side="item"),
        IdColumn(name="user", side="user"),
    ),
    numerics=(NumericColumn(name="age", side="user"), NumericColumn(name="price", side="item")),
    ragged=(),
    vectors=(),
    tasks=TASKS,
    num_rows=40,
    targets={task: TargetStats(mean=0.1, std=0.3, count=9) for task in TASKS},
)
INPUTS = Inputs(LAYOUT)
N, USER = 64, 17
"""Rows of one user, whose side is so many columns wide."""


def _x(num_users: int = 1) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "user_row": torch.arange(N) % num_users,
        "user_ids": torch.randint(0, 40, (num_users, 1)),
        "user_numbers": torch.randn(num_users, 1),
        "ids": torch.randint(0, 40, (N, 2)),
        "numbers": torch.randn(N, 1),
    }


def _traced(module: nn.Module, *args: Any) -> ExportedProgram:
    with torch.no_grad():
        program: ExportedProgram = export(module.eval(), args, strict=False)
        functional: ExportedProgram = program.run_decompositions({})
    return functional


def _flops(run: Callable[[], Any]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def _kinds(cases: Any, kind: Callable[[str], str]) -> list[str]:
    """The first case of every kind."""
    found: dict[str, str] = {}
    for case in cases:
        found.setdefault(kind(case), case)
    return list(found.values())


FIRST = _kinds(SHARING_CASES, kind_of)
QUICK = ("mmoe", "shared_bottom", "cross_stitch", "snr", "ple")
"""Each takes half a second to trace; the others are tried at night."""
SHARINGS_TRIED = [
    pytest.param(case, marks=() if case in QUICK else pytest.mark.nightly) for case in SHARING_CASES
]
INTERACTIONS_TRIED = [
    pytest.param(kind, place, marks=() if place == 0 and kind != "masknet" else pytest.mark.nightly)
    for kind, cases in INTERACTION_CASES.items()
    for place in range(len(cases))
    if kind != "none"
]


def test_every_architecture_is_here() -> None:
    assert {kind_of(case) for case in FIRST} == set(SHARINGS)
    assert {param.values[0] for param in INTERACTIONS_TRIED} | {"none"} == set(INTERACTIONS)


def _check(config: ModelConfig, at_least: int) -> None:
    """Predictions stay, and so many multiply-adds a row go."""
    model = RankingModel(SCHEMA, LAYOUT, config, seed=0).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.add_(torch.randn_like(parameter) * 0.1)
    network, x = Network(model, INPUTS, "predictions"), _x()
    program = _traced(network, x)
    before = _flops(lambda: program.module()(x))
    found = compute_once(cut_products(program, least=1)).module()
    after = _flops(lambda: found(x))
    assert before - after >= 2 * at_least * (N - 1)
    with torch.no_grad():
        want, got = network(x), found(x)
    for task in TASKS:
        assert (want[task] - got[task]).abs().max() < 1e-6


@pytest.mark.parametrize("case", SHARINGS_TRIED)
def test_every_sharing(case: str) -> None:
    """The user's columns leave the first layer, at least 16 units wide, of every architecture."""
    sharing: Any = config_of(case, TASKS)
    _check(ModelConfig(sharing=sharing, towers=Towers(widths=(8,))), at_least=16 * USER)


@pytest.mark.parametrize(("kind", "place"), INTERACTIONS_TRIED)
def test_every_interaction(kind: str, place: int) -> None:
    settings = {**INTERACTION_CASES[kind][place], "kind": kind}
    interaction: Any = parse(INTERACTIONS[kind], settings)
    config = ModelConfig(interaction=interaction, sharing=SharedBottom(widths=(16,)))
    _check(config, at_least=3 * USER)


# What the rewriting knows.


class _Linear(nn.Module):
    """Reads what ``make`` makes of the user's columns and the row's."""

    def __init__(self, make: Callable[[Tensor, Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.make, self.layer = make, nn.Linear(width, 4)

    def forward(self, user_RA: Tensor, row_N: Tensor, x_NB: Tensor) -> Tensor:
        found: Tensor = self.layer(self.make(user_RA.index_select(0, row_N), x_NB))
        return found


MADE: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int, int]] = {
    "beside": (lambda u, x: torch.cat([u, x], 1), 8, 3),
    "behind": (lambda u, x: torch.cat([x, u], 1), 8, 3),
    "twice": (lambda u, x: torch.cat([u, x, u], 1), 11, 6),
    "through functions of one": (lambda u, x: torch.cat([u.relu() * 2, x], 1), 8, 3),
    "cut": (lambda u, x: torch.cat([u, x], 1)[:, 1:6], 5, 2),
    "split": (lambda u, x: torch.cat([u, x], 1).split([2, 6], 1)[0], 2, 2),
    "reshaped": (lambda u, x: torch.cat([u.view(-1, 3, 1).flatten(1), x], 1), 8, 3),
    "alone": (lambda u, x: u, 3, 3),
    "a function of both": (lambda u, x: torch.cat([u, x], 1).relu(), 8, 3),
    "mixed": (lambda u, x: u * x[:, :3], 3, 0),
    "with zeros": (lambda u, x: torch.cat([u, x.new_zeros(len(x), 2), x], 1), 10, 3),
}


@pytest.mark.parametrize("made", MADE)
def test_what_is_moved_before_the_choice(made: str) -> None:
    """The layer's product with the user's columns is made for two users instead of all rows."""
    make, width, moved = MADE[made]
    torch.manual_seed(1)
    x = (torch.randn(2, 3), torch.arange(N) % 2, torch.randn(N, 5))
    module = _Linear(make, width)
    program = _traced(module, *x)
    before = _flops(lambda: program.module()(*x))
    found = compute_once(program).module()
    gone = before - _flops(lambda: found(*x))
    zeros = 2 * N * 2 * 4 if made == "with zeros" else 0
    assert gone == 2 * 4 * (moved * N - min(moved, 3) * 2) + zeros  # a column once, if read twice
    with torch.no_grad():
        assert torch.allclose(found(*x), module(*x), atol=1e-6)


def test_rows_chosen_by_two_indices_are_parted_each() -> None:
    """As in attention: what asks, what is asked, and their difference."""

    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(12, 4)

        def forward(self, a: Tensor, at: Tensor, b: Tensor, of: Tensor) -> Tensor:
            a, b = a.index_select(0, at), b.index_select(0, of)
            found: Tensor = self.layer(torch.cat([a, b, a - b, a * b], 1))
            return found

    torch.manual_seed(2)
    x = (torch.randn(2, 3), torch.arange(N) % 2, torch.randn(5, 3), torch.arange(N) % 5)
    module = Pairs()
    program = _traced(module, *x)
    found = compute_once(program).module()
    assert _flops(lambda: found(*x)) == 2 * 4 * 3 * (N + 2 + 5)
    with torch.no_grad():
        assert torch.allclose(found(*x), module(*x), atol=1e-6)
