"""Each head against arithmetic by hand."""

from __future__ import annotations

import math
from statistics import fmean

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data import TargetStats
from polyrank.heads import build_head, masked_mean
from polyrank.schema import Binary, Duration, Regression
from tests.heads.optimum import smooth_optimum
from tests.heads.samples import NORMAL, stats_of, stats_of_seconds

RATE = TargetStats(mean=0.2, std=0.4, count=1000)


def test_cross_entropy_by_hand() -> None:
    head = build_head(Binary(name="click"), RATE)
    losses = head.loss(torch.tensor([[0.0], [2.0], [2.0]]), torch.tensor([1.0, 1.0, 0.0]))
    expected = [math.log(2), math.log1p(math.exp(-2)), math.log1p(math.exp(2))]
    assert losses.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_binary_head_starts_at_the_base_rate() -> None:
    head = build_head(Binary(name="click"), RATE)
    assert head.predict(head.initial_logits()[None]).item() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        (TargetStats(mean=0.0, std=1.0, count=10), 1e-6),
        (TargetStats(mean=1.0, std=1.0, count=10), 1 - 1e-6),
        (TargetStats(mean=0.0, std=1.0, count=0), 0.5),
    ],
)
def test_a_one_class_or_unseen_task_starts_finite(stats: TargetStats, expected: float) -> None:
    head = build_head(Binary(name="click"), stats)
    assert head.predict(head.initial_logits()[None]).item() == pytest.approx(expected, rel=1e-3)


def test_kept_negatives_are_corrected_exactly_in_odds() -> None:
    thinned = build_head(Binary(name="click", keep_rate=0.1), RATE)
    probability = thinned.predict(torch.tensor([[math.log(0.5 / 0.5)]])).item()
    assert probability == pytest.approx(0.5 / (0.5 + 0.5 / 0.1))  # He et al. 2014, q


def test_large_logits_keep_distinct_probabilities() -> None:
    logits = torch.linspace(10, 25, 1001)[:, None]
    assert len(build_head(Binary(name="click"), RATE).predict(logits).unique()) == 1001


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50))
def test_the_optimum_of_cross_entropy_is_the_rate(positives: int, negatives: int) -> None:
    labels = [1.0] * positives + [0.0] * negatives
    head = build_head(Binary(name="click"), RATE)
    best = head.predict(smooth_optimum(head, labels)).item()
    assert best == pytest.approx(positives / len(labels), rel=1e-5)


def test_huber_on_the_standardised_label_by_hand() -> None:
    head = build_head(Regression(name="price", delta=0.5), TargetStats(mean=10, std=4, count=9))
    losses = head.loss(torch.tensor([[0.25], [0.25]]), torch.tensor([12.0, 20.0]))
    # Targets .5 and 2.5: errors .25 (square) and 2.25 (linear: delta * (error - delta / 2)).
    assert losses.tolist() == pytest.approx([0.5 * 0.25**2, 0.5 * (2.25 - 0.25)])
    assert head.predict(torch.tensor([[0.25]])).item() == pytest.approx(11.0)


def test_the_optimum_of_huber_lies_between_median_and_mean() -> None:
    labels = [math.exp(each) for each in NORMAL]
    best = []
    for delta in (0.01, 1.0, 100.0):
        head = build_head(Regression(name="price", delta=delta), stats_of(labels))
        best.append(head.predict(smooth_optimum(head, labels)).item())
    assert best[0] == pytest.approx(1.0, rel=0.02)  # the median
    assert 1.1 < best[1] < 0.9 * fmean(labels)
    assert best[2] == pytest.approx(fmean(labels), rel=1e-4)


def test_the_optimum_of_log1p_is_below_the_mean_of_skewed_times() -> None:
    times = [math.expm1(3 + each) for each in NORMAL]
    head = build_head(Duration(name="watch"), stats_of_seconds(times))
    best = head.predict(smooth_optimum(head, times)).item()
    assert best == pytest.approx(math.expm1(3), rel=1e-3)  # the median
    assert best < 0.7 * fmean(times)


@pytest.mark.parametrize(("unit", "per_second"), [("ms", 1000.0), ("s", 1.0), ("min", 1 / 60)])
def test_duration_is_learnt_in_log_seconds_and_predicted_in_its_unit(
    unit: str, per_second: float
) -> None:
    head = build_head(
        Duration.model_validate({"name": "watch", "unit": unit}),
        TargetStats(mean=2.0, std=0.5, count=9),
    )
    seconds = math.expm1(2.0 + 0.5 * 1.5)
    logits = torch.tensor([[1.5]])
    assert head.predict(logits).item() == pytest.approx(seconds * per_second)
    assert head.loss(logits, torch.tensor([seconds * per_second])).item() == pytest.approx(
        0.0, abs=1e-10
    )


def test_a_duration_stays_between_zero_and_its_limit() -> None:
    head = build_head(Duration(name="watch", limit=60), TargetStats(mean=2, std=1, count=9))
    assert head.predict(torch.tensor([[-1e9], [1e9]])).tolist() == pytest.approx([0.0, 60.0])


def test_masked_mean_by_hand() -> None:
    loss = torch.tensor([1.0, 5.0, 3.0], requires_grad=True)
    observed = torch.tensor([True, False, True])
    weight = torch.tensor([1.0, 7.0, 3.0])
    value = masked_mean(loss, observed, weight, torch.tensor(4.0))
    value.backward()
    assert value.item() == pytest.approx((1 * 1 + 3 * 3) / 4)
    assert loss.grad is not None
    assert loss.grad.tolist() == pytest.approx([0.25, 0.0, 0.75])


def test_nothing_observed_is_zero_with_zero_gradient() -> None:
    loss = torch.tensor([1.0, 2.0], requires_grad=True)
    value = masked_mean(loss, torch.zeros(2, dtype=torch.bool), torch.ones(2), torch.tensor(0.0))
    value.backward()
    assert value.item() == 0.0
    assert loss.grad is not None
    assert loss.grad.tolist() == [0.0, 0.0]
