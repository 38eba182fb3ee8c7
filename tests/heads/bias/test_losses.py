"""What each bias model makes of logits and losses, against arithmetic by hand.

Shapes: B rows.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from polyrank.data import Batch
from polyrank.heads.bias import BIASES, BiasConfig, BiasObjective
from polyrank.heads.funnels import Objective
from polyrank.schema import Binary, Schema, parse
from tests.heads.bias.rows import KINDS
from tests.heads.funnel_rows import (
    SCHEMA,
    TASKS,
    batch_of,
    cross_entropy,
    every_state,
    sigmoid,
    total,
    totals,
)
from tests.heads.funnel_rows import objective as inside

EXTREME = (-1e4, -60.0, -2.0, 0.0, 1.5, 60.0, 1e4)
PLACE = TASKS.index("click")


def config(name: str, **settings: Any) -> BiasConfig:
    tree = {**KINDS[name], **settings}
    return parse(BIASES[tree["kind"]], tree)


def with_rate(rate: float) -> Schema:
    tasks = tuple(
        Binary(name="click", keep_rate=rate) if task.name == "click" else task
        for task in SCHEMA.tasks
    )
    return SCHEMA.model_copy(update={"tasks": tasks})


def objective(
    name: str, funnel: str = "masked", rate: float = 1.0, task: str = "click", **settings: Any
) -> BiasObjective:
    schema = with_rate(rate)
    inner = inside(funnel, {}, schema)
    return BiasObjective(inner, {task: config(name, **settings)}, schema)


def rows(*, extras: Mapping[str, Any] | None = None) -> Batch:
    """Every state of the labels, with propensities and examination, some not known."""
    batch = every_state()
    number = len(batch)
    known = {
        "propensity": [
            0.02 + 0.9 * (row % 7) / 7 if row % 5 else math.nan for row in range(number)
        ],
        "click.examination": [0.05 + row % 4 / 4 if row % 6 else math.nan for row in range(number)],
    }
    found = {name: torch.tensor(values) for name, values in {**known, **(extras or {})}.items()}
    return dataclasses.replace(batch, extras=found)


def clicks(labels: list[float], weights: list[float] | None = None) -> Batch:
    """Rows without a label of any other task."""
    return batch_of({"click": labels, "buy": [None] * len(labels)}, weights)


def logits_of(chosen: Objective, number: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    names = [*(output.name for output in chosen.outputs), "click.bias", "buy.bias"]
    return {
        name: (2 * torch.randn(number, 1, generator=generator)).requires_grad_() for name in names
    }


def floats(logit: Tensor) -> list[float]:
    return [float(value) for value in logit.detach()[:, 0]]


def by_hand(name: str, batch: Batch, logits: Mapping[str, Tensor], rate: float) -> list[float]:
    assert batch.labels_BT is not None
    labels = [float(label) for label in batch.labels_BT[:, PLACE]]
    seen = [sigmoid(b) for b in floats(logits["click.bias"])]
    losses = []
    for row, (z, label) in enumerate(zip(floats(logits["click"]), labels, strict=True)):
        if name == "shallow_tower":
            losses.append(cross_entropy(sigmoid(z + floats(logits["click.bias"])[row]), label))
        elif name == "pal":
            clicked = sigmoid(z + math.log(rate))
            odds = seen[row] * clicked / (1 - seen[row] * clicked) / rate
            losses.append(cross_entropy(odds / (1 + odds), label))
        elif name == "ipw logged":
            weight = 1 / max(float(batch.extras["propensity"][row]), 0.1)
            losses.append(weight * cross_entropy(sigmoid(z), label))
        else:
            share = label / max(float(batch.extras["click.examination"][row]), 0.1)
            one, zero = (cross_entropy(sigmoid(z), value) for value in (1.0, 0.0))
            rest = rate * (label - share) if label else 0.0
            losses.append(share * one + (rest + (1 - label)) * zero)
    return losses


@pytest.mark.parametrize("rate", [1.0, 0.3])
@pytest.mark.parametrize("name", KINDS)
def test_losses_by_hand(name: str, rate: float) -> None:
    chosen, batch = objective(name, rate=rate), rows()
    logits = logits_of(chosen, len(batch))
    found = chosen.losses(logits, batch, ["click"])["click"].detach()
    expected = torch.tensor(by_hand(name, batch, logits, rate))
    known = chosen.masks(batch)[:, PLACE]
    assert known.any()
    torch.testing.assert_close(found[known], expected[known], rtol=2e-5, atol=1e-5)
    assert found.isfinite().all()


@pytest.mark.parametrize("name", KINDS)
def test_rows_are_left_out_whose_weight_is_not_known(name: str) -> None:
    chosen, batch = objective(name), rows()
    inner = inside("masked", {}).masks(batch).clone()
    before = inner[:, PLACE].clone()
    extra = {"ipw logged": "propensity", "ipw position": "click.examination"}.get(name)
    if extra is not None:
        inner[:, PLACE] &= ~batch.extras[extra].isnan()
        assert not torch.equal(inner[:, PLACE], before)
    assert torch.equal(chosen.masks(batch), inner)


@pytest.mark.parametrize("name", KINDS)
def test_a_row_that_is_left_out_gives_no_gradient_nor_nan(name: str) -> None:
    chosen, batch = objective(name), rows()
    logits = logits_of(chosen, len(batch))
    totals(chosen, logits, batch)["click"].backward()
    gradient = logits["click"].grad
    assert gradient is not None
    assert gradient.isfinite().all()
    used = chosen.masks(batch)[:, PLACE]
    assert (gradient[~used] == 0).all()
    assert (gradient[used] != 0).all()


@pytest.mark.parametrize("name", KINDS)
def test_other_tasks_learn_and_predict_as_without(name: str) -> None:
    chosen, batch = objective(name), rows()
    inner = inside("masked", {})
    logits = logits_of(chosen, len(batch))
    others = [task for task in TASKS if task != "click"]
    mine, theirs = (each.losses(logits, batch, others) for each in (chosen, inner))
    assert set(mine) == set(others)
    for task in others:
        assert torch.equal(mine[task], theirs[task])
        assert torch.equal(chosen.predict(logits)[task], inner.predict(logits)[task])


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rate", [1.0, 0.2])
def test_predictions_by_hand(name: str, rate: float) -> None:
    """Of the tower's own logit, but where the average bias belongs to it."""
    chosen = objective(name, rate=rate)
    logits = logits_of(chosen, 30)
    added = floats(logits["click.bias"]) if name == "shallow_tower" else [0.0] * 30
    expected = [
        sigmoid(z + b + math.log(rate)) for z, b in zip(floats(logits["click"]), added, strict=True)
    ]
    assert chosen.predict(logits)["click"].tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_extreme_logits_are_finite_in_value_and_gradient(name: str) -> None:
    pairs = torch.tensor(list(itertools.product(EXTREME, EXTREME, (0.0, 1.0))))
    labels = [float(label) for label in pairs[:, 2]]
    batch = dataclasses.replace(
        clicks(labels),
        extras={
            "propensity": torch.full((len(labels),), 1e-30),
            "click.examination": torch.zeros(len(labels)),
        },
    )
    for rate in (1.0, 1e-3):
        chosen = objective(name, rate=rate)
        logits = {output.name: pairs[:, :1].clone() for output in chosen.outputs}
        logits["click"] = pairs[:, :1].clone().requires_grad_()
        logits["click.bias"] = pairs[:, 1:2].clone().requires_grad_()
        loss = totals(chosen, logits, batch)["click"]
        assert loss.isfinite()
        loss.backward()
        for logit in (logits["click"], logits["click.bias"]):
            assert logit.grad is None or logit.grad.isfinite().all()
        assert chosen.predict(logits)["click"].isfinite().all()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_gradients_are_the_finite_differences(name: str, rate: float) -> None:
    chosen, batch = objective(name, rate=rate), rows()
    generator = torch.Generator().manual_seed(1)
    z, b = (
        torch.randn(len(batch), 1, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(2)
    )
    rest = {output.name: z.detach() for output in chosen.outputs}

    def loss(z: Tensor, b: Tensor) -> Tensor:
        logits = {**rest, "click": z, "click.bias": b}
        found: Tensor = chosen.losses(logits, batch, ["click"])["click"]
        return found[chosen.masks(batch)[:, PLACE]] + 0 * (z.sum() + b.sum())

    torch.autograd.gradcheck(loss, (z, b))


@pytest.mark.parametrize("rate", [1.0, 0.25])
@pytest.mark.parametrize("name", ["pal", "ipw position"])
def test_the_loss_is_least_at_the_truth(name: str, rate: float) -> None:
    """P(click | seen) = .4, seen at .3 or 1; negatives thinned. Over what the log would hold."""
    truth, theta = 0.4, [0.3, 1.0]
    shares = [[rate * (1 - theta_ * truth), theta_ * truth] for theta_ in theta]
    weights = [share for pair in shares for share in pair]
    batch = dataclasses.replace(
        clicks([0.0, 1.0, 0.0, 1.0], weights),
        extras={"click.examination": torch.tensor([0.3, 0.3, 1.0, 1.0])},
    )
    chosen = objective(name, rate=rate)
    seen = torch.tensor([[math.log(0.3 / 0.7)], [math.log(0.3 / 0.7)], [40.0], [40.0]])
    z = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([z], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        zs = z.expand(4, 1)
        logits = {**{output.name: zs for output in chosen.outputs}, "click.bias": seen}
        loss = totals(chosen, logits, batch)["click"]
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)
    predicted = chosen.predict({**{o.name: z.expand(1, 1) for o in chosen.outputs}})["click"]
    assert predicted.item() == pytest.approx(truth, abs=1e-3)


def test_weights_of_logged_rows_undo_a_preference() -> None:
    """Rows of rate .2 shown four times as often as those of .8: the mean is that of both alike."""
    number = 10_000
    shown, rate = [0.8, 0.2], [0.2, 0.8]
    labels, weights, propensity = [], [], []
    for p, q in zip(shown, rate, strict=True):
        labels += [0.0, 1.0]
        weights += [number * p * (1 - q), number * p * q]
        propensity += [p, p]
    batch = dataclasses.replace(
        clicks(labels, weights), extras={"propensity": torch.tensor(propensity)}
    )
    chosen = objective("ipw logged")
    zero = {output.name: torch.zeros(4, 1) for output in chosen.outputs}
    logits = {**zero, "click": torch.zeros(4, 1, requires_grad=True)}
    totals(chosen, logits, batch)["click"].backward()
    gradient = logits["click"].grad
    assert gradient is not None
    assert gradient.sum().item() == pytest.approx(0.0, abs=1e-5)  # at .5, the mean of both rates


@pytest.mark.parametrize("name", KINDS)
def test_half_precision_gives_float32_losses(name: str) -> None:
    chosen, batch = objective(name), rows()
    logits = {k: v.detach().bfloat16() for k, v in logits_of(chosen, len(batch)).items()}
    loss = chosen.losses(logits, batch, ["click"])["click"]
    assert loss.dtype == torch.float32
    assert loss.isfinite().all()


@pytest.mark.parametrize("funnel", ["esmm", "escm2"])
@pytest.mark.parametrize("name", ["shallow_tower", "pal"])
@pytest.mark.parametrize("task", ["click", "buy"])
def test_within_a_funnel_it_is_the_funnel_of_the_shown_logit(
    name: str, funnel: str, task: str
) -> None:
    """Every part; so a purchase is one of a row that was seen, clicked and bought."""
    chosen, batch = objective(name, funnel, task=task), rows()
    inner = inside(funnel, {})
    logits = {k: v.detach() for k, v in logits_of(chosen, len(batch)).items()}
    z, b = logits[task].double(), logits[f"{task}.bias"].double()
    p = torch.sigmoid(b) * torch.sigmoid(z)
    shown = z + b if name == "shallow_tower" else torch.log(p / (1 - p))
    expected = totals(inner, {**logits, task: shown.float()}, batch)
    found = totals(chosen, logits, batch)
    assert set(found) == set(expected)
    for part, value in expected.items():
        assert found[part].item() == pytest.approx(value.item(), rel=1e-5), part
    assert total(chosen, logits, batch).isfinite()
    served = {**logits, task: logits[task] + logits[f"{task}.bias"]}
    predicted = inner.predict(served if name == "shallow_tower" else logits)
    for other, value_B in chosen.predict(logits).items():
        torch.testing.assert_close(value_B, predicted[other])


def test_a_conversion_is_seen_clicked_and_bought() -> None:
    """ESMM with PAL on the click, one row by hand."""
    chosen = objective("pal", "esmm")
    batch = batch_of({"click": [1.0], "buy": [1.0]})
    values = {"click": 0.4, "buy": -0.3, "click.bias": 0.9}
    logits = {output.name: torch.zeros(1, 1) for output in chosen.outputs}
    logits |= {name: torch.tensor([[value]]) for name, value in values.items()}
    joint = sigmoid(0.9) * sigmoid(0.4) * sigmoid(-0.3)
    loss = chosen.losses(logits, batch, ["buy"])["buy"]
    assert loss.item() == pytest.approx(-math.log(joint), rel=1e-5)
    assert chosen.predict(logits)["buy"].item() == pytest.approx(sigmoid(-0.3))
