"""Zero-inflated log-normal."""

from __future__ import annotations

import math
from statistics import fmean, pstdev

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data import TargetStats
from polyrank.heads import ZILN
from polyrank.schema import Regression
from tests.heads.optimum import smooth_optimum
from tests.heads.samples import NORMAL, stats_of

TASK = Regression(name="spend", lower=0)
SHOWN = TargetStats(mean=4.0, std=20.0, count=50)
ONE = math.log(math.expm1(1 - 0.05))  # the logit of sigma = 1
TWO = math.log(math.expm1(2 - 0.05))


def test_the_loss_by_hand() -> None:
    head = ZILN().build(TASK, SHOWN)
    logits = torch.tensor([[2.0, 0.5, ONE], [2.0, 0.5, ONE], [2.0, 0.5, TWO]])
    labels = torch.tensor([0.0, 4 * math.exp(1.5), 4 * math.exp(1.5)])
    above = math.log1p(math.exp(-2))
    # log(label / scale) is 1.5, one above mu.
    expected = [
        math.log1p(math.exp(2)),
        above + math.log(1 / 0.05) + 0.5,
        above + math.log(2 / 0.05) + 0.125,
    ]
    assert head.loss(logits, labels).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_prediction_by_hand() -> None:
    head = ZILN().build(TASK, SHOWN)
    logits = torch.tensor([[0.0, 0.5, ONE], [math.log(0.1 / 0.9), -1.0, TWO]])
    expected = [4 * 0.5 * math.exp(0.5 + 0.5), 4 * 0.1 * math.exp(-1 + 2)]
    assert head.predict(logits).tolist() == pytest.approx(expected, rel=1e-6)


def test_losses_differ_as_the_densities_do() -> None:
    head = ZILN().build(TASK, SHOWN)
    label = torch.tensor([7.5], dtype=torch.float64)
    logits = [torch.tensor([[0.3, 0.2, 0.4]]).double(), torch.tensor([[-1.0, 1.1, -0.7]]).double()]
    losses = [head.loss(each, label).item() for each in logits]
    densities = []
    for each in logits:
        above, mean, spread = each[0].tolist()
        sigma = 0.05 + math.log1p(math.exp(spread))
        law = torch.distributions.LogNormal(mean, sigma)
        densities.append(-math.log1p(math.exp(-above)) + law.log_prob(label / 4).item())
    assert losses[0] - losses[1] == pytest.approx(densities[1] - densities[0], rel=1e-6)


@pytest.mark.parametrize(("mean", "std"), [(4.0, 20.0), (0.03, 0.2), (50.0, 90.0)])
def test_it_starts_with_the_first_two_moments(mean: float, std: float) -> None:
    head = ZILN().build(TASK, TargetStats(mean=mean, std=std, count=50))
    initial = head.initial_logits()[None]
    assert head.predict(initial).item() == pytest.approx(mean, rel=1e-5)
    above, log_mean, _ = initial[0].tolist()
    square = (mean**2) / (1 + math.exp(-above)) * math.exp(2 * log_mean + 2)  # sigma is 1
    assert square == pytest.approx(mean**2 + std**2, rel=1e-4)


@pytest.mark.parametrize(("std", "rate"), [(0.1, 0.9), (1000.0, 0.01)])
def test_its_first_rate_is_never_sure(std: float, rate: float) -> None:
    head = ZILN().build(TASK, TargetStats(mean=4.0, std=std, count=50))
    initial = head.initial_logits()[None]
    assert torch.sigmoid(initial[0, 0]).item() == pytest.approx(rate)
    assert head.predict(initial).item() == pytest.approx(4.0, rel=1e-5)


def test_the_optimum_on_log_normal_values_is_their_mean() -> None:
    values = [math.exp(1 + 0.8 * each) for each in NORMAL]
    labels = values + [0.0] * 6000
    head = ZILN().build(TASK, stats_of(labels))
    best = head.predict(smooth_optimum(head, labels)).item()
    assert best == pytest.approx(0.25 * math.exp(1 + 0.32), rel=5e-3)
    assert best == pytest.approx(fmean(labels), rel=5e-3)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.1, 1e3), min_size=2, max_size=20, unique=True), st.integers(1, 20))
def test_the_optimum_is_the_fit_by_maximum_likelihood(values: list[float], zeros: int) -> None:
    labels = values + [0.0] * zeros
    logs = [math.log(value) for value in values]
    sigma = max(pstdev(logs), 0.05)
    head = ZILN().build(TASK, stats_of(labels))
    best = head.predict(smooth_optimum(head, labels)).item()
    expected = len(values) / len(labels) * math.exp(fmean(logs) + sigma**2 / 2)
    assert best == pytest.approx(expected, rel=1e-3)


def test_a_zero_teaches_nothing_of_the_size() -> None:
    head = ZILN().build(TASK, SHOWN)
    logits = torch.tensor([[0.3, 0.2, 0.4]], requires_grad=True)
    head.loss(logits, torch.zeros(1)).sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] > 0
    assert logits.grad[0, 1:].tolist() == [0.0, 0.0]


def test_predictions_stay_below_the_greatest_label_and_else_finite() -> None:
    bounded = ZILN().build(Regression(name="spend", lower=0, upper=30), SHOWN)
    assert bounded.predict(torch.tensor([[9.0, 9.0, 9.0]])).item() == 30.0
    free = ZILN().build(TASK, SHOWN)
    assert np.isfinite(free.predict(torch.tensor([[1e4, 1e4, 1e4]])).item())
