"""AITM against plain loops over its equations.

Shapes: B rows, H width.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from polyrank.heads.funnels.aitm import AITM, Link, Transfer
from polyrank.heads.funnels.space import Space
from polyrank.layers import cost_of
from tests.heads.funnel_rows import (
    SCHEMA,
    TASKS,
    cross_entropy,
    every_state,
    joint_label,
    mean_over_rows,
    objective,
    random_logits,
    sigmoid,
    totals,
)

CHAINS = {
    "buy": ("click", "buy"),
    "cart": ("click", "cart"),
    "review": ("click", "buy", "review"),
}


def test_losses_are_those_of_the_equations() -> None:
    chosen, batch = objective("aitm", {}), every_state()
    logits = random_logits(chosen, len(batch))
    found = totals(chosen, logits, batch)
    weights = {part.name: part.weight for part in chosen.parts}
    above = 0
    for task, chain in CHAINS.items():
        losses: list[float | None] = []
        excess: list[float | None] = []
        for row in range(len(batch)):
            label = joint_label(batch, row, chain)
            p, before = (sigmoid(logits[name][row].item()) for name in (task, chain[-2]))
            losses.append(None if label is None else cross_entropy(p, label))
            excess.append(None if label is None else max(p - before, 0.0))
            above += p > before
        assert found[task].item() == pytest.approx(mean_over_rows(batch, losses), rel=1e-5)
        value = found[f"{task}.order"].item()
        assert value == pytest.approx(mean_over_rows(batch, excess), rel=1e-5)
        assert weights[f"{task}.order"] == 0.6
    assert above > 10


def test_predictions_are_ratios_of_joints_and_at_most_one() -> None:
    chosen = objective("aitm", {})
    logits = random_logits(chosen, 50)
    found = chosen.predict(logits)
    clipped = 0
    for task, chain in CHAINS.items():
        for row in range(50):
            p, before = (sigmoid(logits[name][row].item()) for name in (task, chain[-2]))
            assert found[task][row].item() == pytest.approx(min(p / before, 1.0), rel=1e-6)
            clipped += p > before
    assert clipped > 10


def test_towers_start_at_the_joint_rate() -> None:
    chosen = objective("aitm", {})
    start = {output.name: output.initial_logits for output in chosen.outputs}
    rates = {task: sigmoid(start[task].item()) for task in ("click", "buy", "review", "like")}
    assert rates == pytest.approx({"click": 0.3, "buy": 0.09, "review": 0.027, "like": 0.3})
    predictions = chosen.predict({name: logit[None] for name, logit in start.items()})
    assert predictions["review"].item() == pytest.approx(0.3, rel=1e-5)


def slow_linear(layer: Any, x: list[float]) -> list[float]:
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    return [
        sum(w * v for w, v in zip(row, x, strict=True)) + b
        for row, b in zip(weight, bias, strict=True)
    ]


def slow_link(link: Link, before: list[float], own: list[float]) -> list[float]:
    passed = [max(value, 0.0) for value in slow_linear(link.passed, before)]
    scores, values = [], []
    for u in (passed, own):
        product = zip(slow_linear(link.key, u), slow_linear(link.query, u), strict=True)
        scores.append(sum(k * q for k, q in product) / math.sqrt(len(own)))
        values.append(slow_linear(link.value, u))
    shares = [math.exp(score) / sum(map(math.exp, scores)) for score in scores]
    return [shares[0] * a + shares[1] * b for a, b in zip(*values, strict=True)]


def test_information_passes_along_the_chain_as_in_the_equations() -> None:
    torch.manual_seed(0)
    space, width = Space.of(SCHEMA), 6
    block = Transfer(space, width)
    hidden = {task: 3 * torch.randn(5, width) for task in TASKS}
    found = block(hidden)
    assert list(found) == list(hidden)
    for task in ("click", "like", "watch"):
        assert torch.equal(found[task], hidden[task])
    links: dict[str, Any] = dict(zip(space.inner, block.links, strict=True))
    for row in range(5):
        expected = {"click": hidden["click"][row].tolist()}
        for task, before in (("buy", "click"), ("cart", "click"), ("review", "buy")):
            own = hidden[task][row].tolist()
            expected[task] = slow_link(links[task], expected[before], own)
            assert found[task][row].tolist() == pytest.approx(expected[task], rel=1e-4, abs=1e-5)


def test_the_cost_of_a_link_by_hand() -> None:
    """g once, h1, h2 and h3 twice; two inner products and a sum of two."""
    cost = cost_of(AITM().transfer(SCHEMA, 8, TASKS))
    assert cost.parameters == 3 * 4 * (64 + 8)
    assert cost.multiply_adds == 3 * (7 * 64 + 4 * 8)
