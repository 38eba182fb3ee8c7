"""Weighted logistic regression."""

from __future__ import annotations

import math
from statistics import fmean

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data import TargetStats
from polyrank.heads import WLR
from polyrank.schema import Duration
from tests.heads.optimum import smooth_optimum
from tests.heads.samples import stats_of_seconds

TASK = Duration(name="watch")
LN11 = TargetStats(mean=math.log(11) - 0.5, std=1.0, count=9)  # scale: exp(log 11) - 1 = 10 s


def test_the_loss_by_hand() -> None:
    logits, labels = torch.tensor([[0.0], [1.0], [1.0]]), torch.tensor([0.0, 0.0, 25.0])
    soft, hard = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
    paper = WLR(negatives="zeros").build(TASK, LN11)
    assert paper.loss(logits, labels).tolist() == pytest.approx([math.log(2), hard, 2.5 * soft])
    every = WLR().build(TASK, LN11)
    assert every.loss(logits, labels).tolist() == pytest.approx(
        [math.log(2), hard, 2.5 * soft + hard]
    )


@pytest.mark.parametrize(("unit", "per_second"), [("ms", 1000.0), ("s", 1.0), ("min", 1 / 60)])
def test_odds_are_time_in_the_labels_unit(unit: str, per_second: float) -> None:
    task = Duration.model_validate({"name": "watch", "unit": unit, "limit": 600})
    head = WLR().build(task, LN11)
    logits = torch.tensor([[0.0], [math.log(3)], [50.0], [-1e4]])
    expected = [10 * per_second, 30 * per_second, 600 * per_second, 0.0]
    assert head.predict(logits).tolist() == pytest.approx(expected)
    in_seconds = WLR().build(Duration(name="watch", limit=600), LN11)
    assert head.loss(logits[:1], torch.tensor([7 * per_second])).item() == pytest.approx(
        in_seconds.loss(logits[:1], torch.tensor([7.0])).item()
    )


times = st.lists(st.floats(0.1, 1000), min_size=1, max_size=20)


@settings(max_examples=20, deadline=None)
@given(times, st.integers(1, 40))
def test_the_papers_optimum_is_the_sum_of_times_over_the_zeros(
    seen: list[float], zeros: int
) -> None:
    labels = seen + [0.0] * zeros
    head = WLR(negatives="zeros").build(TASK, stats_of_seconds(labels))
    best = head.predict(smooth_optimum(head, labels)).item()
    assert best == pytest.approx(sum(seen) / zeros, rel=1e-4)


def test_the_papers_odds_are_the_mean_only_where_nearly_all_are_zeros() -> None:
    rare, common = [30.0] * 2 + [0.0] * 998, [30.0] * 80 + [0.0] * 20
    ratio = []
    for labels in (rare, common):
        head = WLR(negatives="zeros").build(TASK, stats_of_seconds(labels))
        ratio.append(head.predict(smooth_optimum(head, labels)).item() / fmean(labels))
    assert ratio == pytest.approx([1 / 0.998, 1 / 0.2], rel=1e-4)  # 1 / P(T = 0)


@settings(max_examples=20, deadline=None)
@given(times, st.integers(0, 40))
def test_with_every_row_a_negative_the_optimum_is_the_mean_of_any_sample(
    seen: list[float], zeros: int
) -> None:
    labels = seen + [0.0] * zeros
    head = WLR().build(TASK, stats_of_seconds([*labels, 50.0]))
    best = head.predict(smooth_optimum(head, labels)).item()
    assert best == pytest.approx(fmean(labels), rel=1e-4)


def test_without_a_zero_the_papers_prediction_runs_to_the_limit() -> None:
    head = WLR(negatives="zeros").build(Duration(name="watch", limit=600), LN11)
    best = smooth_optimum(head, [5.0, 7.0])
    assert head.predict(best).item() == 600.0


def test_a_spread_beyond_the_limit_starts_at_the_limit() -> None:
    task = Duration(name="watch", limit=60)
    head = WLR().build(task, TargetStats(mean=3.0, std=100.0, count=9))
    assert head.predict(head.initial_logits()[None]).item() == pytest.approx(60.0)
