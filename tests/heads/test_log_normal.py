"""A log-normal time."""

from __future__ import annotations

import math
from statistics import fmean, pstdev

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data import TargetStats
from polyrank.heads import Log1p, LogNormal
from polyrank.schema import Duration
from tests.heads.optimum import smooth_optimum
from tests.heads.samples import NORMAL, stats_of_seconds

TASK = Duration(name="watch")
SHOWN = TargetStats(mean=2.0, std=0.5, count=9)
ONE = math.log(math.expm1(1 - 0.05))  # the logit of sigma = 1
TWO = math.log(math.expm1(2 - 0.05))


def test_the_loss_by_hand() -> None:
    head = LogNormal().build(TASK, SHOWN)
    label = math.expm1(3.0)  # standardised: 2
    losses = head.loss(torch.tensor([[1.0, ONE], [1.0, TWO]]), torch.tensor([label, label]))
    expected = [math.log(1 / 0.05) + 0.5, math.log(2 / 0.05) + 0.125]
    assert losses.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("unit", "per_second"), [("ms", 1000.0), ("s", 1.0), ("min", 1 / 60)])
def test_mean_and_median_by_hand_in_the_labels_unit(unit: str, per_second: float) -> None:
    head = LogNormal().build(Duration.model_validate({"name": "watch", "unit": unit}), SHOWN)
    logits = torch.tensor([[1.0, TWO]])  # log time: mean 2.5, spread 1
    assert head.predict(logits).item() == pytest.approx(math.expm1(3.0) * per_second)
    assert head.median(logits).item() == pytest.approx(math.expm1(2.5) * per_second)


def test_quantiles_by_hand() -> None:
    head = LogNormal().build(Duration(name="watch", unit="ms"), SHOWN)
    found = head.further(torch.tensor([[1.0, TWO]]))  # log time: mean 2.5, spread 1
    expected = {"p10": 2.5 - 1.2815516, "p50": 2.5, "p90": 2.5 + 1.2815516}
    assert {name: each.item() for name, each in found.items()} == pytest.approx(
        {name: 1000 * math.expm1(log) for name, log in expected.items()}, rel=1e-6
    )


def test_times_stay_between_zero_and_the_limit() -> None:
    head = LogNormal().build(Duration(name="watch", limit=60), SHOWN)
    logits = torch.tensor([[-1e4, 0.0], [0.0, 1e4], [1e4, 0.0]])
    assert head.predict(logits).tolist() == pytest.approx([0.0, 60.0, 60.0])
    assert head.median(logits).tolist() == pytest.approx([0.0, math.expm1(2.0), 60.0])


def test_the_optimum_on_log_normal_times_is_their_mean_where_log1p_is_their_median() -> None:
    times = [math.expm1(4 + 0.9 * each) for each in NORMAL]
    shown = stats_of_seconds(times)
    head, median = LogNormal().build(TASK, shown), Log1p().build(TASK, shown)
    best = smooth_optimum(head, times)
    assert head.predict(best).item() == pytest.approx(fmean(times), rel=5e-3)
    assert head.median(best).item() == pytest.approx(math.expm1(4), rel=1e-3)
    assert median.predict(smooth_optimum(median, times)).item() == pytest.approx(
        math.expm1(4), rel=1e-3
    )
    assert fmean(times) > 1.4 * math.expm1(4)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1000), min_size=2, max_size=20, unique=True))
def test_the_optimum_is_the_fit_by_maximum_likelihood(times: list[float]) -> None:
    shown = stats_of_seconds([*times, 20.0])
    logs = [math.log1p(each) for each in times]
    sigma = max(pstdev(logs), 0.05 * shown.std)
    head = LogNormal().build(TASK, shown)
    best = smooth_optimum(head, times)
    expected = min(math.expm1(fmean(logs) + sigma**2 / 2), 86_400)
    assert head.predict(best).item() == pytest.approx(expected, rel=1e-3)
    assert head.median(best).item() == pytest.approx(math.expm1(fmean(logs)), rel=1e-3, abs=1e-6)


def test_it_starts_with_the_training_moments() -> None:
    head = LogNormal().build(TASK, SHOWN)
    assert head.predict(head.initial_logits()[None]).item() == pytest.approx(
        math.expm1(2.0 + 0.125)
    )
