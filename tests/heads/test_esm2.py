"""ESM² against plain loops over p = y1 [y2 y3 + (1 - y2) y4]."""

from __future__ import annotations

import pytest

from polyrank.schema import Binary
from tests.heads.funnel_rows import (
    SCHEMA,
    cross_entropy,
    every_state,
    heads,
    joint_label,
    mean_over_rows,
    objective,
    own_label,
    random_logits,
    sigmoid,
    totals,
)

CONFIG = {"action": "cart", "conversion": "buy"}


def test_losses_are_those_of_the_equation() -> None:
    chosen, batch = objective("esm2", CONFIG), every_state()
    logits = random_logits(chosen, len(batch))
    losses: dict[str, list[float | None]] = {"click": [], "cart": [], "buy": [], "review": []}
    for row in range(len(batch)):
        y1, y2, y3, y4 = (
            sigmoid(logits[name][row].item()) for name in ("click", "cart", "buy", "buy.otherwise")
        )
        probs = {"click": y1, "cart": y1 * y2, "buy": y1 * (y2 * y3 + (1 - y2) * y4)}
        for task, p in probs.items():
            chain = ("click",) if task == "click" else ("click", task)
            label = joint_label(batch, row, chain)
            losses[task].append(None if label is None else cross_entropy(p, label))
        label = own_label(batch, row, "review")  # not named: on its own sample space
        p = sigmoid(logits["review"][row].item())
        losses["review"].append(None if label is None else cross_entropy(p, label))
    found = totals(chosen, logits, batch)
    for task, loss in losses.items():
        assert found[task].item() == pytest.approx(mean_over_rows(batch, loss), rel=1e-5), task


def test_the_conversion_is_predicted_over_both_branches() -> None:
    chosen = objective("esm2", CONFIG)
    logits = random_logits(chosen, 20)
    found = chosen.predict(logits)
    for row in range(20):
        y2, y3, y4 = (
            sigmoid(logits[name][row].item()) for name in ("cart", "buy", "buy.otherwise")
        )
        assert found["buy"][row].item() == pytest.approx(y2 * y3 + (1 - y2) * y4, rel=1e-6)
        assert found["cart"][row].item() == pytest.approx(y2, rel=1e-6)


def test_thinned_negatives_are_corrected_after_the_branches() -> None:
    thinned = tuple(
        Binary(name="buy", within="click", keep_rate=0.25) if task.name == "buy" else task
        for task in SCHEMA.tasks
    )
    schema = SCHEMA.model_copy(update={"tasks": thinned})
    plain, corrected = objective("esm2", CONFIG), objective("esm2", CONFIG, schema)
    logits = random_logits(plain, 20)
    before, after = plain.predict(logits)["buy"], corrected.predict(logits)["buy"]
    for p, q in zip(before.tolist(), after.tolist(), strict=True):
        assert q == pytest.approx(p / (p + (1 - p) / 0.25))  # He et al. 2014


def test_both_branches_start_at_the_rate() -> None:
    chosen = objective("esm2", CONFIG)
    logits = {output.name: output.initial_logits[None] for output in chosen.outputs}
    assert [output.name for output in chosen.outputs] == [*heads(), "buy.otherwise"]
    assert chosen.predict(logits)["buy"].item() == pytest.approx(0.3)
