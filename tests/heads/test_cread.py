"""Classification and restoration, beside the equations in plain Python."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest
import torch

from polyrank.data import TargetStats
from polyrank.errors import ConfigError
from polyrank.heads import CREAD, CREADHead
from polyrank.schema import Duration
from tests.heads.optimum import smooth_optimum
from tests.heads.watch import SHOWN, TASK, slow_mean, slow_ranks, slow_time, stats_of_bounds

EVEN = TargetStats(mean=1.0, std=1.0, count=9, quantiles=tuple(float(k) for k in range(9)))
"""Evenly from 0 to 8 s."""
SECONDS = Duration(name="watch")
SPREAD = math.sqrt(fmean((k + 0.5 - 4) ** 2 for k in range(8)))
LOGITS = [0.9, -0.4, 0.2]


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def _gamma(share: float, alpha: float) -> float:
    return (1 - math.exp(-alpha * share)) / (1 - math.exp(-alpha))


def _head(error: float = 0.0, order: float = 0.0) -> CREADHead:
    """Thresholds of nearly equal mass: 2, 4, 6 s; means 1, 3, 5, 7."""
    config = CREAD(thresholds=3, alpha=1e-9, error_weight=error, order_weight=order)
    head = config.build(SECONDS, EVEN)
    assert head.thresholds == pytest.approx([2.0, 4.0, 6.0])
    return head


def _cross_entropy(targets: list[float]) -> float:
    return fmean(
        -(target * math.log(_sigmoid(z)) + (1 - target) * math.log(_sigmoid(-z)))
        for target, z in zip(targets, LOGITS, strict=True)
    )


def _restored(chances: list[float]) -> float:
    return 1 + 2 * sum(chances)


@pytest.mark.parametrize("alpha", [0.5, 2.0, 5.0])
def test_thresholds_are_quantiles_denser_among_long_times(alpha: float) -> None:
    head = CREAD(thresholds=7, alpha=alpha).build(SECONDS, EVEN)
    expected = [slow_time(EVEN.quantiles, _gamma(m / 8, alpha)) for m in range(1, 8)]
    assert head.thresholds == pytest.approx(expected)
    steps = [high - low for low, high in pairwise((0.0, *head.thresholds, 8.0))]
    assert all(wide > narrow for wide, narrow in pairwise(steps))


@pytest.mark.parametrize(
    ("label", "targets"), [(0, [0, 0, 0]), (2.5, [1, 0, 0]), (4.0, [1, 0, 0]), (9, [1, 1, 1])]
)
def test_the_loss_by_hand(label: float, targets: list[float]) -> None:
    logits, labels = torch.tensor([LOGITS]), torch.tensor([float(label)])
    plain = _cross_entropy(targets)
    assert _head().loss(logits, labels).item() == pytest.approx(plain, rel=1e-5)
    error = abs(_restored([_sigmoid(z) for z in LOGITS]) - label) / SPREAD
    huber = 0.5 * error**2 if error <= 3 else 3 * (error - 1.5)
    assert _head(error=0.3).loss(logits, labels).item() == pytest.approx(
        plain + 0.3 * huber, rel=1e-5
    )
    rise = _sigmoid(LOGITS[2]) - _sigmoid(LOGITS[1])
    assert _head(order=0.6).loss(logits, labels).item() == pytest.approx(
        plain + 0.6 * rise / 3, rel=1e-5
    )


def test_far_labels_weigh_linearly() -> None:
    head, logits = _head(error=1.0), torch.full((3, 3), -50.0)
    far = head.loss(logits, torch.tensor([100.0, 200.0, 300.0]))
    assert far.diff().tolist() == pytest.approx([3 * 100 / SPREAD] * 2, rel=1e-4)


@pytest.mark.parametrize(("bound", "bucket", "along"), [(0, 0, 0), (1, 0, 0.5), (4.5, 2, 0.25)])
def test_a_bound_is_known_below_it_and_expected_beyond(
    bound: float, bucket: int, along: float
) -> None:
    chances = [_sigmoid(z) for z in LOGITS]
    falling = [1.0, chances[0], min(chances[:2]), min(chances), 0.0]
    at_bound = (1 - along) * falling[bucket] + along * falling[bucket + 1]
    targets = [1.0 if place <= bucket else falling[place] / at_bound for place in range(1, 4)]
    logits, labels = torch.tensor([LOGITS]), torch.tensor([float(bound)])
    censored = {"censored": torch.ones(1)}
    plain = _cross_entropy(targets)
    assert _head().loss(logits, labels, censored).item() == pytest.approx(plain, rel=1e-5)
    error = (_restored(chances) - max(_restored(targets), bound)) / SPREAD
    assert _head(error=0.3).loss(logits, labels, censored).item() == pytest.approx(
        plain + 0.3 * 0.5 * error**2, rel=1e-5
    )


def test_the_slope_under_a_bound_is_chance_less_target() -> None:
    chances = [_sigmoid(z) for z in LOGITS]
    logits = torch.tensor([LOGITS], requires_grad=True)
    _head().loss(logits, torch.tensor([1.0]), {"censored": torch.ones(1)}).sum().backward()
    assert logits.grad is not None
    at_bound = 0.5 + 0.5 * chances[0]
    given = [each / at_bound for each in (chances[0], chances[1], chances[1])]
    expected = [(p - target) / 3 for p, target in zip(chances, given, strict=True)]
    assert logits.grad[0].tolist() == pytest.approx(expected, rel=1e-4)


def test_a_bound_at_or_beyond_the_largest_label_is_beyond_all_thresholds() -> None:
    logits, labels = torch.tensor([LOGITS] * 2), torch.tensor([8.0, 50.0])
    found = _head().loss(logits, labels, {"censored": torch.ones(2)})
    assert found.tolist() == pytest.approx([_cross_entropy([1, 1, 1])] * 2, rel=1e-5)


def test_a_bound_on_a_tie_leaves_it_open_whether_the_label_is_the_tie() -> None:
    at = (0.0, 1.0, 4.0, 4.0, 4.0, 4.0, 6.0, 7.0, 8.0)  # Ranks 2/8 to 5/8 are 4 s.
    head = CREAD(thresholds=1, alpha=1e-9, error_weight=0).build(
        SECONDS, TargetStats(mean=1.0, std=1.0, count=9, quantiles=at)
    )
    assert head.thresholds == [4.0]
    chance = _sigmoid(0.9)
    at_least = 0.6 * 1.0 + 0.4 * chance  # 4 s is reached at rank 2/8 of the 5/8 up to 4 s.
    target = chance / at_least
    logit, label = torch.tensor([[0.9]]), torch.tensor([4.0])
    expected = -(target * math.log(chance) + (1 - target) * math.log(1 - chance))
    found = head.loss(logit, label, {"censored": torch.ones(1)}).item()
    assert found == pytest.approx(expected, rel=1e-5)
    assert head.loss(logit, label).item() == pytest.approx(-math.log(1 - chance), rel=1e-5)


def test_thresholds_that_coincide_are_one() -> None:
    zeros = TargetStats(mean=1.0, std=1.0, count=9, quantiles=(0.0,) * 7 + (3.0, 8.0))
    head = CREAD(thresholds=5, alpha=1e-9).build(SECONDS, zeros)
    assert head.thresholds == pytest.approx([0.0, 2.0])
    assert head.num_logits == 2
    # Above 2 s lie the ranks from 5/6: a quarter of them up to 3 s, the others up to 8 s.
    assert head._buckets.values == pytest.approx((0.0, 1.0, 2.5 / 4 + 5.5 * 3 / 4))
    only = CREAD().build(SECONDS, TargetStats(mean=1.0, std=1.0, count=9, quantiles=(5.0,) * 513))
    assert only.thresholds == [5.0]
    assert only.predict(torch.randn(3, 1)).tolist() == [5.0] * 3
    assert only.initial_logits().isfinite().all()


def test_it_restores_the_training_labels_at_the_start() -> None:
    head = CREAD().build(TASK, SHOWN)
    start = head.initial_logits()[None]
    shares = [slow_ranks(SHOWN.quantiles, each)[1] for each in head.thresholds]
    assert torch.sigmoid(start)[0].tolist() == pytest.approx(
        [1 - each for each in shares], abs=1e-6
    )
    mean = 1000 * slow_mean(SHOWN.quantiles, 0, 1)
    assert head.predict(start).item() == pytest.approx(mean, rel=2e-2)
    found = [each.item() for each in head.further(start).values()]
    expected = [1000 * slow_time(SHOWN.quantiles, level) for level in (0.1, 0.5, 0.9)]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_optimum_of_the_cross_entropy_restores_the_mean() -> None:
    sample = np.random.default_rng(0).gamma(2.0, 20.0, 2000)
    stats = stats_of_bounds(sample, np.zeros(2000, dtype=bool))
    part = sample[:500]
    head = CREAD(error_weight=0, order_weight=0).build(SECONDS, stats)
    best = smooth_optimum(head, part.tolist())
    found = torch.sigmoid(best)[0].tolist()
    assert found == pytest.approx(
        [float(np.mean(part > each)) for each in head.thresholds], abs=1e-3
    )
    assert head.predict(best).item() == pytest.approx(part.mean(), rel=0.02)
    assert head.further(best)["p50"].item() == pytest.approx(float(np.median(part)), rel=0.03)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="thresholds"):
        CREAD(thresholds=0)
    with pytest.raises(ConfigError, match="alpha"):
        CREAD(alpha=0)
