"""Squared error."""

from __future__ import annotations

from statistics import fmean

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data import TargetStats
from polyrank.heads import MSE
from polyrank.schema import Regression
from tests.heads.optimum import smooth_optimum
from tests.heads.samples import stats_of

TASK = Regression(name="price")


def test_the_loss_by_hand() -> None:
    head = MSE().build(TASK, TargetStats(mean=10.0, std=4.0, count=9))
    losses = head.loss(torch.tensor([[0.25], [0.25]]), torch.tensor([12.0, 20.0]))
    # Targets .5 and 2.5, errors .25 and 2.25.
    assert losses.tolist() == pytest.approx([0.5 * 0.0625, 0.5 * 5.0625])
    assert head.predict(torch.tensor([[0.25]])).item() == pytest.approx(11.0)
    assert head.predict(head.initial_logits()[None]).item() == 10.0


def test_a_large_offset_leaves_the_difference_whole() -> None:
    head = MSE().build(TASK, TargetStats(mean=1e9, std=1.0, count=9))
    label = torch.tensor([1e9 + 0.5], dtype=torch.float64)
    assert head.loss(torch.zeros(1, 1), label).item() == pytest.approx(0.125)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30))
def test_the_optimum_is_the_mean(labels: list[float]) -> None:
    shown = stats_of([*labels, 1e3])  # another sample than the one it is fitted to
    head = MSE().build(TASK, shown)
    best = head.predict(smooth_optimum(head, labels)).item()
    assert best == pytest.approx(fmean(labels), abs=1e-6)
