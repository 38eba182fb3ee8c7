"""What a module says it is made of adds up to what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from polyrank.interactions import INTERACTIONS
from polyrank.layers import (
    MLP,
    Cost,
    FlatTable,
    Gates,
    PackedExperts,
    TargetAttention,
    Tower,
    cost_of,
)
from polyrank.layers.parts import Part, part_of, parts_of, repeated, sum_of
from polyrank.schema import parse
from polyrank.sharing import SHARINGS
from tests.contract.test_interactions_contract import INPUTS

TASKS = ("click", "like", "buy")
NEEDED: dict[str, dict[str, Any]] = {
    "groups": {"groups": {"a": ["click"], "b": ["like", "buy"]}, "sharing": {"kind": "ple"}},
    "home": {"groups": {"a": ["click"], "b": ["like", "buy"]}},
    "pepnet": {"domain": ["hour"], "priors": ["user", "item"]},
}


def _walk(parts: list[Part] | tuple[Part, ...]) -> Iterator[Part]:
    for part in parts:
        yield part
        yield from _walk(part.parts)


def _check(module: nn.Module) -> None:
    parts = parts_of(module)
    assert sum_of(part.cost for part in parts) == cost_of(module)
    for part in _walk(parts):
        assert part.name
        assert part.cost != Cost(0, 0)
        assert not part.parts or sum_of(inner.cost for inner in part.parts) == part.cost
        assert part.parts or part.shape or part.name in ("weighted sums", "other weights")
    assert len(list(_walk(parts))) <= 32


@pytest.mark.parametrize("kind", sorted(SHARINGS))
def test_the_parts_of_every_sharing_add_up(kind: str) -> None:
    config = parse(SHARINGS[kind], {"kind": kind, **NEEDED.get(kind, {})})
    with torch.device("meta"):
        _check(config.build(INPUTS, TASKS))


@pytest.mark.parametrize("kind", sorted(INTERACTIONS))
def test_the_parts_of_every_interaction_add_up(kind: str) -> None:
    with torch.device("meta"):
        _check(parse(INTERACTIONS[kind], {"kind": kind}).build(INPUTS))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(3, 2), "3 → 2"),
        (MLP(3, (4, 5)), "3 → 4 → 5"),
        (Tower(3, (4,), 2), "3 → 4 → 2"),
        (Tower(3, ()), "3 → 1"),
        (PackedExperts(3, (4, 5), 6), "6 × (3 → 4 → 5)"),
        (PackedExperts(3, (4,), 1), "3 → 4"),
        (Gates(3, ("a", "b"), 5), "2 × (3 → 5)"),
        (nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 4)), "3 → 2, 2 → 4"),
        (FlatTable(1234, 8), "1,234 rows × 8"),
        (TargetAttention(2, (4, 3)), "8 → 4 → 3 → 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_shape_of_a_layer(module: nn.Module, shape: str) -> None:
    part = part_of("layer", module)
    assert (part.name, part.shape, part.parts) == ("layer", shape, ())
    assert part.cost == cost_of(module)


class Odd(nn.Module):
    """Weights of its own that multiply, and vectors that do not."""

    def __init__(self, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        for place, shape in enumerate(shapes):
            self.register_parameter(f"weight_{place}", nn.Parameter(torch.zeros(shape)))


def test_a_layer_of_another_kind_is_told_by_its_weights() -> None:
    assert part_of("odd", Odd((2, 3), (2, 3), (4,), (2, 3, 4))).shape == "2 of 2×3, 2×3×4"
    assert part_of("odd", Odd((4,))).shape == "4"


def test_layers_of_a_list_are_one_part_with_the_first_shapes() -> None:
    block = nn.Module()
    block.layers = nn.ModuleList(nn.Linear(2, out) for out in (2, 2, 3, 4, 5, 6))
    (part,) = parts_of(block)
    assert part.shape == "2 × (2 → 2), 2 → 3, 2 → 4 and 2 more"
    assert part.cost == Cost(parameters=66, multiply_adds=44)


def _two(*inner: nn.Module) -> nn.Module:
    block = nn.Module()
    for place, module in enumerate(inner):
        block.add_module(f"part_{place}", module)
    return block


def test_modules_of_a_list_are_told_by_runs_that_are_alike() -> None:
    block = nn.Module()
    alike = [_two(nn.Linear(2, 2), MLP(2, (3, 3))) for _ in range(3)]
    block.tasks = nn.ModuleList([*alike, _two(nn.Linear(2, 9))])
    first, last = parts_of(block)
    assert (first.name, first.cost) == ("tasks 1 to 3", Cost(3 * 27, 3 * 19))
    assert [(part.name, part.shape) for part in first.parts] == [
        ("part_0", "3 × (2 → 2)"),
        ("part_1", "3 × (2 → 3 → 3)"),
    ]
    assert (last.name, last.shape) == ("tasks 4: part_0", "2 → 9")


def test_modules_by_name_keep_their_names() -> None:
    block = nn.Module()
    block.tasks = nn.ModuleDict(
        {"click": _two(nn.Linear(2, 2), nn.Linear(2, 3)), "like": _two(nn.Linear(2, 9))}
    )
    assert [part.name for part in parts_of(block)] == ["tasks click", "tasks like: part_0"]


def test_what_a_block_multiplies_itself_is_the_last_part() -> None:
    block = _two(nn.Linear(2, 2), nn.LayerNorm(2))
    block.own = nn.Parameter(torch.zeros(5, 6))
    _, rest = parts_of(block)
    assert (rest.name, rest.shape, rest.cost) == ("other weights", "5×6", Cost(30 + 4, 30))
    block = _two(nn.Linear(2, 2))
    block.extra_multiply_adds = 7  # type: ignore[assignment]
    _, rest = parts_of(block)
    assert (rest.name, rest.shape, rest.cost) == ("weighted sums", "", Cost(0, 7))


def test_repeating_a_part_repeats_its_parts() -> None:
    inner = Part(name="b", cost=Cost(2, 1), each="3×4", count=2)
    part = repeated(Part(name="a", cost=Cost(2, 1), parts=(inner,)), 5)
    assert part.cost == part.parts[0].cost == Cost(10, 5)
    assert part.parts[0].shape == "10 × (3×4)"
    assert part.shape == ""


def test_a_list_of_one_is_not_worth_a_name() -> None:
    block = nn.Module()
    block.levels = nn.ModuleList([_two(nn.Linear(2, 2), nn.Linear(2, 3))])
    assert [part.name for part in parts_of(block)] == ["part_0", "part_1"]
