"""Tweedie."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_tweedie_deviance

from polyrank.data import TargetStats
from polyrank.errors import ConfigError
from polyrank.heads import Tweedie
from polyrank.schema import Regression
from tests.heads.optimum import smooth_optimum
from tests.heads.samples import stats_of

TASK = Regression(name="spend", lower=0)
SHOWN = TargetStats(mean=4.0, std=20.0, count=50)


def test_the_loss_by_hand() -> None:
    head = Tweedie(power=1.5).build(TASK, SHOWN)
    logits = torch.tensor([[0.0], [0.0], [math.log(4)]])
    losses = head.loss(logits, torch.tensor([0.0, 4.0, 12.0]))
    # Labels over the scale 0, 1, 3; means 1, 1, 4: y / (.5 sqrt(mu)) + sqrt(mu) / .5.
    assert losses.tolist() == pytest.approx([2.0, 2.0 + 2.0, 3.0 + 4.0])
    assert head.predict(logits).tolist() == pytest.approx([4.0, 4.0, 16.0])
    assert head.predict(head.initial_logits()[None]).item() == 4.0


@pytest.mark.parametrize("power", [1.01, 1.2, 1.5, 1.9])
@pytest.mark.parametrize("label", [1e-3, 0.5, 4.0, 300.0])
def test_what_it_loses_to_the_best_prediction_is_half_the_deviance(
    power: float, label: float
) -> None:
    head = Tweedie(power=power).build(TASK, SHOWN)
    logit = torch.tensor([[-1.3], [0.0], [2.1]], dtype=torch.float64)
    best = torch.full_like(logit, math.log(label / 4))
    labels = torch.full((3,), label, dtype=torch.float64)
    excess = head.loss(logit, labels) - head.loss(best, labels)
    expected = [
        mean_tweedie_deviance([label / 4], np.exp([at]), power=power) / 2
        for at in logit[:, 0].tolist()
    ]
    assert excess.tolist() == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_far_logits_go_on_along_the_tangent() -> None:
    head = Tweedie(power=1.5).build(TASK, SHOWN)
    at = torch.tensor([[39.0], [40.0], [41.0], [1e4]], dtype=torch.float64)
    inside, edge, *beyond = head.loss(at, torch.zeros(4, dtype=torch.float64)).tolist()
    assert inside == pytest.approx(2 * math.exp(19.5))
    assert edge == pytest.approx(2 * math.exp(20))
    slope = math.exp(20)  # of 2 exp(z / 2) at z = 40
    assert beyond == pytest.approx([edge + slope, edge + slope * (1e4 - 40)])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1e3), min_size=2, max_size=30).filter(lambda found: sum(found) > 1),
    st.sampled_from([1.1, 1.5, 1.9]),
)
def test_the_optimum_is_the_mean_of_any_sample_at_any_power(
    labels: list[float], power: float
) -> None:
    head = Tweedie(power=power).build(TASK, stats_of([*labels, 500.0]))
    best = head.predict(smooth_optimum(head, labels)).item()
    assert best == pytest.approx(fmean(labels), rel=1e-4)


def test_a_label_that_was_always_zero_starts_near_zero() -> None:
    head = Tweedie().build(TASK, TargetStats(mean=0.0, std=1.0, count=9))
    assert head.predict(head.initial_logits()[None]).item() == pytest.approx(1e-6)
    assert head.loss(head.initial_logits()[None], torch.tensor([0.0])).isfinite().all()


def test_predictions_stay_below_the_greatest_label() -> None:
    head = Tweedie().build(Regression(name="spend", lower=0, upper=30), SHOWN)
    assert head.predict(torch.tensor([[9.0]])).item() == 30.0


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_a_power_that_is_no_compound_law_is_refused(power: float) -> None:
    with pytest.raises(ConfigError, match=f"power.*got {power}"):
        Tweedie(power=power)
