"""ESCM² against plain loops over its risks, and what must not be learned from them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.heads.funnel_rows import (
    CHAINS,
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

FLOOR = 0.2
"""High, so that some rows lie below."""


def config(**more: Any) -> dict[str, Any]:
    return {"propensity_floor": FLOOR, **more}


@pytest.mark.parametrize("estimator", ["ips", "dr"])
def test_losses_are_those_of_the_equations(estimator: str) -> None:
    chosen, batch = objective("escm2", config(estimator=estimator)), every_state()
    logits = random_logits(chosen, len(batch))
    found = totals(chosen, logits, batch)
    floored = 0
    for task, chain in CHAINS.items():
        risk: list[float | None] = []
        square: list[float | None] = []
        joint: list[float | None] = []
        for row in range(len(batch)):
            label = joint_label(batch, row, chain)
            if label is None:
                for losses in (risk, square, joint):
                    losses.append(None)
                continue
            probs = [sigmoid(logits[name][row].item()) for name in chain]
            joint.append(cross_entropy(math.prod(probs), label))
            inverse = 1 / max(math.prod(probs[:-1]), FLOOR)
            floored += math.prod(probs[:-1]) < FLOOR
            own = own_label(batch, row, task)
            error = 0.0 if own is None else cross_entropy(probs[-1], own)
            imputed = 0.0
            if estimator == "dr":
                imputed = math.log1p(math.exp(logits[f"{task}.imputation"][row].item()))
            exposed = own is not None
            risk.append(imputed + exposed * (error - imputed) * inverse)
            square.append(exposed * (error - imputed) ** 2 * inverse)
        expected = {"joint": joint, "risk": risk}
        if estimator == "dr":
            expected["imputation"] = square
        for what, losses in expected.items():
            value = found[f"{task}.{what}"].item()
            assert value == pytest.approx(mean_over_rows(batch, losses), rel=1e-5), (task, what)
    assert floored > 10
    assert len(found) == 3 + 3 * (3 if estimator == "dr" else 2)


@pytest.mark.parametrize("estimator", ["ips", "dr"])
def test_the_propensity_is_not_moved_by_the_risk(estimator: str) -> None:
    chosen, batch = objective("escm2", config(estimator=estimator)), every_state()
    logits = random_logits(chosen, len(batch))
    means = totals(chosen, logits, batch)
    risk = [mean for name, mean in means.items() if name.endswith((".risk", ".imputation"))]
    torch.stack(risk).sum().backward()
    assert logits["click"].grad is None
    assert logits["review"].grad is not None
    assert logits["review"].grad.abs().sum() > 0


def test_the_squares_train_the_imputation_alone() -> None:
    chosen, batch = objective("escm2", config(estimator="dr")), every_state()
    logits = random_logits(chosen, len(batch))
    totals(chosen, logits, batch)["buy.imputation"].backward()
    assert logits["buy"].grad is None
    assert logits["buy.imputation"].grad is not None
    assert logits["buy.imputation"].grad.abs().sum() > 0


def test_the_conversion_tower_itself_learns_alike_from_both_estimators() -> None:
    """As the docstring says: ê is no function of it."""
    batch = every_state()
    grads = []
    for estimator in ("ips", "dr"):
        chosen = objective("escm2", config(estimator=estimator))
        logits = random_logits(chosen, len(batch))
        total(chosen, logits, batch).backward()
        assert logits["buy"].grad is not None
        grads.append(logits["buy"].grad)
    torch.testing.assert_close(*grads)


def test_inverse_propensity_undoes_a_known_selection() -> None:
    """Two groups of equal size, clicked half and a tenth of the time: each counts half."""
    clicked = [1.0] * 50 + [0.0] * 50 + [1.0] * 10 + [0.0] * 90
    buy = [1.0 if click else None for click in clicked]
    batch = batch_of({"click": clicked, "buy": buy})
    chosen = objective("escm2", {"propensity_floor": 0.01})
    logits = random_logits(chosen, 200)
    with torch.no_grad():
        logits["click"][:100] = 0.0
        logits["click"][100:] = math.log(0.1 / 0.9)
        logits["buy"][:100] = math.log(0.8 / 0.2)
        logits["buy"][100:] = math.log(0.3 / 0.7)
    found = totals(chosen, logits, batch)["buy.risk"].item()
    assert found == pytest.approx(-0.5 * math.log(0.8) - 0.5 * math.log(0.3), rel=1e-5)


def test_doubly_robust_is_right_where_the_imputation_is_though_the_propensity_is_not() -> None:
    clicked = [1.0] * 50 + [0.0] * 50
    batch = batch_of({"click": clicked, "buy": [1.0 if click else None for click in clicked]})
    chosen = objective("escm2", {"estimator": "dr"})
    logits = random_logits(chosen, 100)
    error = -math.log(0.8)
    with torch.no_grad():
        logits["click"].fill_(3.0)  # 0.95, twice the true propensity
        logits["buy"].fill_(math.log(0.8 / 0.2))
        logits["buy.imputation"].fill_(math.log(math.expm1(error)))
    assert totals(chosen, logits, batch)["buy.risk"].item() == pytest.approx(error, rel=1e-5)


def test_without_risk_it_is_esmm() -> None:
    batch = every_state()
    values = []
    for kind, settings in (("esmm", {}), ("escm2", {"risk_weight": 0.0})):
        chosen = objective(kind, settings)
        values.append(total(chosen, random_logits(chosen, len(batch)), batch).item())
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_the_imputation_starts_at_the_error_of_the_rate() -> None:
    chosen = objective("escm2", {"estimator": "dr"})
    start = {output.name: output.initial_logits.item() for output in chosen.outputs}
    entropy = -(0.3 * math.log(0.3) + 0.7 * math.log(0.7))
    assert math.log1p(math.exp(start["buy.imputation"])) == pytest.approx(entropy, rel=1e-5)
