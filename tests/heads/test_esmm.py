"""ESMM against plain loops over its equation 4, and its optimum against counting.

Shapes: B rows.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
import torch
from torch import Tensor

from polyrank.data import Batch
from polyrank.heads.funnels import Objective
from polyrank.heads.funnels.space import Space, both, either_way, of_logits
from polyrank.schema import Binary, Schema
from tests.heads.funnel_rows import (
    CHAINS,
    ITEM,
    SCHEMA,
    batch_of,
    cross_entropy,
    every_state,
    joint_label,
    mean_over_rows,
    objective,
    own_label,
    random_logits,
    sigmoid,
    total,
    totals,
)


def slow(logits: dict[str, Tensor], batch: Batch) -> dict[str, float]:
    found = {}
    for task in ("click", "like"):
        losses = []
        for row in range(len(batch)):
            label = own_label(batch, row, task)
            p = sigmoid(logits[task][row].item())
            losses.append(None if label is None else cross_entropy(p, label))
        found[task] = mean_over_rows(batch, losses)
    for task, chain in CHAINS.items():
        losses = []
        for row in range(len(batch)):
            label = joint_label(batch, row, chain)
            p = 1.0
            for name in chain:
                p *= sigmoid(logits[name][row].item())
            losses.append(None if label is None else cross_entropy(p, label))
        found[task] = mean_over_rows(batch, losses)
    return found


def test_losses_are_those_of_the_equation() -> None:
    chosen, batch = objective("esmm", {}), every_state()
    logits = random_logits(chosen, len(batch))
    found = totals(chosen, logits, batch)
    for task, expected in slow(logits, batch).items():
        assert found[task].item() == pytest.approx(expected, rel=1e-5), task
    assert set(found) == {"watch", "buy", "click", "cart", "review", "like"}


def test_there_is_no_loss_on_the_conditional_itself() -> None:
    """Where P(click) is tiny, a purchase without a click teaches the purchase's tower nothing."""
    chosen = objective("esmm", {})
    batch = batch_of({"click": [0.0], "buy": [None]})
    logits = random_logits(chosen, 1)
    with torch.no_grad():
        logits["click"].fill_(-20.0)
        logits["buy"].fill_(3.0)
    total(chosen, logits, batch).backward()
    assert logits["buy"].grad is not None
    assert 0 < logits["buy"].grad.item() < 1e-8


@pytest.mark.parametrize(
    ("click", "buy", "review", "known", "reached"),
    [
        (None, None, None, (False, False), (False, False)),
        (None, 1.0, 1.0, (False, False), (False, False)),
        (0.0, None, None, (True, True), (False, False)),
        (0.0, 1.0, 1.0, (True, True), (False, False)),
        (1.0, None, None, (False, False), (False, False)),
        (1.0, None, 1.0, (False, False), (False, False)),
        (1.0, 0.0, None, (True, True), (False, False)),
        (1.0, 1.0, None, (True, False), (True, False)),
        (1.0, 1.0, 0.0, (True, True), (True, False)),
        (1.0, 1.0, 1.0, (True, True), (True, True)),
    ],
)
def test_the_joint_label_by_hand(
    click: float | None,
    buy: float | None,
    review: float | None,
    known: tuple[bool, bool],
    reached: tuple[bool, bool],
) -> None:
    """Of click and buy, and of click, buy and review."""
    space = Space.of(SCHEMA)
    batch = batch_of({"click": [click], "buy": [buy], "review": [review]})
    found = [space.joint_labels(batch, task) for task in ("buy", "review")]
    assert tuple(bool(seen) for _, seen in found) == known
    assert tuple(bool(label & seen) for label, seen in found) == reached


def test_chains_by_hand() -> None:
    space = Space.of(SCHEMA)
    assert {task: space.chains[task] for task in space.inner} == CHAINS
    assert space.inner.index("buy") < space.inner.index("review")
    assert set(space.members) == {"click", "buy", "cart", "review"}


@pytest.mark.parametrize(
    ("a", "b"), [(-30.0, 40.0), (0.3, -0.2), (25.0, 30.0), (-60.0, -60.0), (35.0, -1.0)]
)
def test_products_lose_nothing_to_rounding(a: float, b: float) -> None:
    """Against exact fractions of a hundred digits."""

    with localcontext() as context:
        context.prec = 100
        p, q = (1 / (1 + Decimal(-z).exp()) for z in (a, b))
        expected = [
            (p * q).ln(),
            (1 - p * q).ln(),
            (p * q + (1 - p) * (1 - q)).ln(),
            (1 - p * q - (1 - p) * (1 - q)).ln(),
        ]
    first, second, third = (of_logits(torch.tensor([[z]])) for z in (a, b, -b))
    product, mixture = both(first, second), either_way(first, second, third)
    found = [*product, *mixture]
    for ours, exact in zip(found, expected, strict=True):
        assert ours.item() == pytest.approx(float(exact), rel=1e-5)


# The optimum on a tabular problem: a logit a cell, as many as there are.

TABLE = Schema(features=(ITEM,), tasks=(Binary(name="click"), Binary(name="buy", within="click")))
CELLS = [(40, 20, 5), (100, 10, 9), (60, 30, 3)]
"""Impressions, clicks and purchases of each cell."""


def table() -> tuple[Batch, Tensor]:
    click: list[float | None] = []
    buy: list[float | None] = []
    cells: list[int] = []
    for cell, (impressions, clicks, purchases) in enumerate(CELLS):
        for row in range(impressions):
            cells.append(cell)
            click.append(float(row < clicks))
            buy.append(float(row < purchases) if row < clicks else None)
    return batch_of({"click": click, "buy": buy}, schema=TABLE), torch.tensor(cells)


def fitted(chosen: Objective, batch: Batch, cells: Tensor) -> dict[str, Tensor]:
    """The predictions of each cell where the loss is least."""
    weights = {
        output.name: torch.zeros(len(CELLS), 1, requires_grad=True) for output in chosen.outputs
    }
    optimizer = torch.optim.Adam(list(weights.values()))
    for step in range(800):
        optimizer.param_groups[0]["lr"] = 0.3 * 0.99**step
        optimizer.zero_grad()
        total(chosen, {name: weight[cells] for name, weight in weights.items()}, batch).backward()
        optimizer.step()
    return chosen.predict({name: weight.detach() for name, weight in weights.items()})


@pytest.mark.parametrize(
    ("kind", "config"),
    [("masked", {}), ("esmm", {}), ("escm2", {"propensity_floor": 1e-3}), ("aitm", {"alpha": 0})],
)
def test_the_optimum_of_a_table_is_the_rate_of_each_cell(
    kind: str, config: dict[str, float]
) -> None:
    """Nothing is shared between cells, so all of them are right; what differs is what they see."""
    chosen = objective(kind, config, TABLE)
    batch, cells = table()
    found = fitted(chosen, batch, cells)
    for cell, (impressions, clicks, purchases) in enumerate(CELLS):
        assert found["click"][cell].item() == pytest.approx(clicks / impressions, rel=5e-3)
        assert found["buy"][cell].item() == pytest.approx(purchases / clicks, rel=5e-3)
    rows = dict(zip([part.name for part in chosen.parts], chosen.masks(batch).sum(0), strict=True))
    clicks, impressions = sum(cell[1] for cell in CELLS), sum(cell[0] for cell in CELLS)
    names = {"escm2": "buy.joint"}
    assert rows[names.get(kind, "buy")] == (clicks if kind == "masked" else impressions)
