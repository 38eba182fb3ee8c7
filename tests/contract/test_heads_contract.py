"""The laws of every registered head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from polyrank.data import TargetStats
from polyrank.heads import HEADS, Head, masked_mean
from polyrank.schema import Binary, Duration, Regression, parse

# kind -> (task, stats, valid labels, range of predictions)
CASES: dict[str, tuple[Any, TargetStats, list[float], tuple[float, float]]] = {
    "cross_entropy": (
        Binary(name="t", keep_rate=0.5),
        TargetStats(mean=0.1, std=0.3, count=50),
        [0.0, 1.0],
        (0.0, 1.0),
    ),
    "huber": (
        Regression(name="t"),
        TargetStats(mean=-3.0, std=2.0, count=50),
        [-1e6, -3.0, 1e6],
        (float("-inf"), float("inf")),
    ),
    "log1p": (
        Duration(name="t", unit="ms"),
        TargetStats(mean=2.0, std=1.5, count=50),
        [0.0, 61_802.0, 86_400_000.0],
        (0.0, 86_400_000.0),
    ),
}


def test_every_head_is_under_contract() -> None:
    assert set(CASES) == set(HEADS)


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> tuple[Head, list[float], tuple[float, float]]:
    task, stats, labels, bounds = CASES[request.param]
    return parse(HEADS[request.param], {}).build(task, stats), labels, bounds


Case = tuple[Head, list[float], tuple[float, float]]


def _rows(case: Case) -> tuple[Tensor, Tensor]:
    head, labels, _ = case
    torch.manual_seed(0)
    label_B = torch.tensor(labels).repeat(4)
    return torch.randn(len(label_B), head.num_logits), label_B


def test_initial_logits_fit_the_tower(case: Case) -> None:
    head, _, _ = case
    assert head.initial_logits().shape == (head.num_logits,)


def test_extreme_logits_and_labels_give_finite_losses_and_gradients(case: Case) -> None:
    head, labels, _ = case
    for label in labels:
        for logit in (-1e4, -50.0, 0.0, 50.0, 1e4):
            logits = torch.full((1, head.num_logits), logit, requires_grad=True)
            loss = head.loss(logits, torch.tensor([label]))
            loss.sum().backward()
            assert logits.grad is not None
            assert loss.isfinite().all()
            assert loss.item() >= 0
            assert logits.grad.isfinite().all()


def test_half_precision_logits_give_a_finite_float32_loss(case: Case) -> None:
    head, _, _ = case
    logits, labels = _rows(case)
    loss = head.loss(logits.bfloat16(), labels)
    assert loss.dtype == torch.float32
    assert loss.isfinite().all()


def test_gradient_is_the_finite_difference(case: Case) -> None:
    head, _, _ = case
    logits, _ = _rows(case)
    labels = head.predict(logits + 0.3).float()
    labels = labels.round() if case[2] == (0.0, 1.0) else labels
    logits.requires_grad_()
    head.loss(logits, labels).sum().backward()
    assert logits.grad is not None
    step = 1e-2
    with torch.no_grad():
        up, down = head.loss(logits + step, labels), head.loss(logits - step, labels)
    slope = (up - down) / (2 * step)
    assert torch.allclose(logits.grad.sum(1), slope, rtol=2e-2, atol=2e-2)


def test_predictions_stay_in_range_and_never_fall_with_the_logit(case: Case) -> None:
    head, _, (low, high) = case
    logits = torch.linspace(-60, 60, 2001)[:, None].expand(-1, head.num_logits)
    predictions = head.predict(logits)
    assert predictions.dtype == torch.float64
    assert ((predictions >= low) & (predictions <= high)).all()
    assert (predictions.diff() >= 0).all()


def test_weight_zero_is_a_row_removed_and_weight_two_a_row_repeated(case: Case) -> None:
    head, _, _ = case
    logits, labels = _rows(case)
    loss = head.loss(logits, labels)
    weight = torch.ones(len(loss))
    weight[0], weight[1] = 0.0, 2.0
    weighted = masked_mean(loss, torch.ones(len(loss)).bool(), weight, weight.sum())
    rows = torch.cat([torch.tensor([1, 1]), torch.arange(2, len(loss))])
    assert weighted.item() == pytest.approx(loss[rows].mean().item(), rel=1e-6)
