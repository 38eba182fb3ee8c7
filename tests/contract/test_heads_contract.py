"""The laws of every registered head.

Shapes: B rows, L logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from polyrank.data import TargetStats
from polyrank.heads import HEADS, Head, masked_mean
from polyrank.layers import ROW_MULTIPLE
from polyrank.schema import Binary, Duration, Multiclass, Ordinal, Regression, parse
from tests.heads.watch import WATCH_CASES

INFINITE = (-math.inf, math.inf)
DAY = 86_400_000.0

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
        INFINITE,
    ),
    "mse": (
        Regression(name="t"),
        TargetStats(mean=-3.0, std=2.0, count=50),
        [-1e6, -3.0, 1e6],
        INFINITE,
    ),
    "quantile": (
        Regression(name="t"),
        TargetStats(mean=-3.0, std=2.0, count=50),
        [-1e6, -3.0, 1e6],
        INFINITE,
    ),
    "tweedie": (
        Regression(name="t", lower=0, upper=1e6),
        TargetStats(mean=4.0, std=20.0, count=50),
        [0.0, 1e-6, 4.0, 1e6],
        (0.0, 1e6),
    ),
    "ziln": (
        Regression(name="t", lower=0, upper=1e6),
        TargetStats(mean=4.0, std=20.0, count=50),
        [0.0, 1e-6, 4.0, 1e6],
        (0.0, 1e6),
    ),
    "log1p": (
        Duration(name="t", unit="ms"),
        TargetStats(mean=2.0, std=1.5, count=50),
        [0.0, 61_802.0, DAY],
        (0.0, DAY),
    ),
    "log_normal": (
        Duration(name="t", unit="ms"),
        TargetStats(mean=2.0, std=1.5, count=50),
        [0.0, 61_802.0, DAY],
        (0.0, DAY),
    ),
    "wlr": (
        Duration(name="t", unit="ms"),
        TargetStats(mean=2.0, std=1.5, count=50),
        [0.0, 61_802.0, DAY],
        (0.0, DAY),
    ),
    "cumulative": (
        Ordinal(name="t", levels=(-1, 2, 2.5, 7)),
        TargetStats(mean=1.0, std=2.0, count=50, shares=(0.3, 0.4, 0.0, 0.3)),
        [-1.0, 2.0, 2.5, 7.0],
        (-1.0, 7.0),
    ),
    "softmax": (  # its labels are places of classes; each stands where its name says
        Multiclass(name="t", classes={"0": 0, "1": 0.5, "2": 2}),
        TargetStats(mean=0.6, std=0.8, count=50, shares=(0.5, 0.5, 0.0)),
        [0.0, 1.0, 2.0],
        (0.0, 2.0),
    ),
    **WATCH_CASES,
}
RISING = sorted(set(CASES) - {"softmax"})
"""Heads whose prediction follows every logit; of softmax only differences of logits matter."""
EXTREME = (-1e4, -50.0, 0.0, 50.0, 1e4)


def test_every_head_is_under_contract() -> None:
    assert set(CASES) == set(HEADS)


@dataclass(frozen=True)
class Case:
    """A head, valid labels for it, and what it may predict."""

    head: Head
    labels: list[float]
    bounds: tuple[float, float]

    def rows(self) -> tuple[Tensor, Tensor]:
        """(B, L) logits and (B,) labels of twelve rows or more."""
        torch.manual_seed(0)
        labels_B = torch.tensor(self.labels).repeat(6)
        return torch.randn(len(labels_B), self.head.num_logits), labels_B

    def extremes(self) -> tuple[Tensor, Tensor]:
        """Every label under every combination of extreme logits, or under 400 of many."""
        axis = torch.tensor(EXTREME)
        count = self.head.num_logits
        if count > 4:
            torch.manual_seed(0)
            drawn_BL = axis[torch.randint(len(axis), (400, count))]
            logits_BL = torch.cat([axis[:, None].expand(-1, count), drawn_BL])
        else:
            logits_BL = torch.cartesian_prod(*[axis] * count).reshape(-1, count)
        labels_B = torch.tensor(self.labels).repeat_interleave(len(logits_BL))
        return logits_BL.repeat(len(self.labels), 1), labels_B


def _case(kind: str) -> Case:
    task, stats, labels, bounds = CASES[kind]
    config = parse(HEADS[kind], {})
    config.check(task)
    return Case(config.build(task, stats), labels, bounds)


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return _case(request.param)


@pytest.fixture(params=RISING)
def rising(request: pytest.FixtureRequest) -> Case:
    return _case(request.param)


def test_it_starts_with_a_prediction_that_is_a_label_it_may_meet(case: Case) -> None:
    initial = case.head.initial_logits()
    assert initial.shape == (case.head.num_logits,)
    assert initial.dtype == torch.float32
    start = case.head.predict(initial[None]).item()
    assert min(case.labels) < start < max(case.labels)


def test_extreme_logits_and_labels_give_finite_losses_and_gradients(case: Case) -> None:
    logits, labels = case.extremes()
    logits.requires_grad_()
    loss = case.head.loss(logits, labels)
    loss.sum().backward()
    assert loss.shape == labels.shape
    assert loss.isfinite().all()
    assert (loss >= 0).all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_extreme_logits_give_finite_predictions_in_range(case: Case) -> None:
    logits, _ = case.extremes()
    predictions = case.head.predict(logits)
    low, high = case.bounds
    assert predictions.dtype == torch.float64
    assert predictions.isfinite().all()
    assert ((predictions >= low) & (predictions <= high)).all()


def test_half_precision_logits_give_a_finite_float32_loss(case: Case) -> None:
    for logits, labels in (case.rows(), case.extremes()):
        loss = case.head.loss(logits.bfloat16(), labels)
        assert loss.dtype == torch.float32
        assert loss.isfinite().all()
        assert torch.equal(loss, case.head.loss(logits.bfloat16().float(), labels))
        assert case.head.predict(logits.bfloat16()).isfinite().all()


def test_labels_in_float32_or_float64_give_the_same_loss(case: Case) -> None:
    logits, labels = case.rows()
    exact = case.head.loss(logits, labels.double())
    assert exact.dtype == torch.float32
    assert torch.allclose(case.head.loss(logits, labels), exact)


def test_the_gradient_is_the_slope_in_float64(case: Case) -> None:
    logits, labels = case.rows()
    near = case.head.predict(logits + 0.3)
    near = near.round() if case.bounds == (0.0, 1.0) else near
    for targets in (labels.double(), near):
        point = logits.double().requires_grad_()
        assert case.head.loss(point, targets).dtype == torch.float64
        assert _slopes_agree(case.head, point, targets)


def _slopes_agree(head: Head, logits_BL: Tensor, labels_B: Tensor) -> bool:
    weight_B = 1 / (1 + head.loss(logits_BL, labels_B).detach())  # one tolerance suits all rows
    return bool(
        torch.autograd.gradcheck(lambda at_BL: head.loss(at_BL, labels_B) * weight_B, (logits_BL,))
    )


def test_predictions_never_fall_with_a_single_logit(rising: Case) -> None:
    # As many as the engine pads to a multiple of: what is left over rounds in another way.
    steps = torch.cat([torch.tensor([-1e4]), torch.linspace(-60, 60, 2014), torch.tensor([1e4])])
    assert len(steps) % ROW_MULTIPLE == 0
    torch.manual_seed(1)
    for place in range(rising.head.num_logits):
        for others in torch.randn(3, rising.head.num_logits):
            logits = others.repeat(len(steps), 1)
            logits[:, place] = steps
            predictions = rising.head.predict(logits)
            assert (predictions.diff() >= 0).all()


def test_predictions_rise_with_the_logits(rising: Case) -> None:
    logits = rising.head.initial_logits() + torch.tensor([[-0.5], [0.0], [0.5]])
    assert (rising.head.predict(logits).diff() > 0).all()


def test_a_row_counts_for_itself(case: Case) -> None:
    logits, labels = case.rows()
    order = torch.randperm(len(labels))
    loss, predictions = case.head.loss(logits, labels), case.head.predict(logits)
    assert torch.equal(case.head.loss(logits[order], labels[order]), loss[order])
    assert torch.equal(case.head.predict(logits[order]), predictions[order])
    assert torch.allclose(case.head.loss(logits[:1], labels[:1]), loss[:1])
    assert case.head.loss(logits[:0], labels[:0]).shape == (0,)
    assert case.head.predict(logits[:0]).shape == (0,)


def _mean(case: Case, logits: Tensor, labels: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over rows that are all observed, and its gradient by the logits."""
    at = logits.clone().requires_grad_()
    observed = torch.ones(len(labels), dtype=torch.bool)
    value = masked_mean(case.head.loss(at, labels), observed, weight, weight.sum())
    value.backward()
    assert at.grad is not None
    return value.detach(), at.grad


def test_weight_zero_is_a_row_removed_and_weight_two_a_row_repeated(case: Case) -> None:
    logits, labels = case.rows()
    weight = torch.ones(len(labels))
    weight[0], weight[1] = 0.0, 2.0
    value, gradient = _mean(case, logits, labels, weight)
    rows = torch.cat([torch.tensor([1]), torch.arange(1, len(labels))])
    expected, of_rows = _mean(case, logits[rows], labels[rows], torch.ones(len(rows)))
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert (gradient[0] == 0).all()
    assert torch.allclose(gradient[1], of_rows[0] + of_rows[1])
    assert torch.allclose(gradient[2:], of_rows[2:])


def test_nothing_observed_is_zero_with_zero_gradient(case: Case) -> None:
    logits, labels = case.extremes()
    for unobserved in (labels, torch.zeros_like(labels)):  # a batch holds 0 there
        at = logits.clone().requires_grad_()
        nothing = torch.zeros(len(labels), dtype=torch.bool)
        loss = case.head.loss(at, unobserved)
        value = masked_mean(loss, nothing, torch.ones(len(labels)), torch.tensor(0.0))
        value.backward()
        assert value.item() == 0.0
        assert at.grad is not None
        assert (at.grad == 0).all()
