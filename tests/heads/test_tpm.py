"""Tree-based progressive regression, beside the equations in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest
import torch

from polyrank.data import TargetStats
from polyrank.errors import ConfigError
from polyrank.heads import TPM, TPMHead
from polyrank.schema import Duration
from tests.heads.optimum import smooth_optimum
from tests.heads.watch import SHOWN, TASK, slow_mean, slow_time, stats_of_bounds

EVEN = TargetStats(mean=1.0, std=1.0, count=9, quantiles=tuple(float(k) for k in range(9)))
"""Evenly from 0 to 8 s."""
SECONDS = Duration(name="watch")


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > 0 else math.exp(logit) / (1 + math.exp(logit))


def _leaves(logits: Sequence[float]) -> list[float]:
    """P(leaf): from the root down, left is 1 - sigmoid."""
    count = len(logits) + 1
    chances = []
    for leaf in range(count):
        node, low, high, chance = 0, 0, count, 1.0
        while high - low > 1:
            middle = (low + high) // 2
            right = leaf >= middle
            chance *= _sigmoid(logits[node] if right else -logits[node])
            low, high = (middle, high) if right else (low, middle)
            node = 2 * node + (2 if right else 1)
        chances.append(chance)
    return chances


def _head(leaves: int = 4, deviation: float = 0.0, error: float = 0.0) -> TPMHead:
    config = TPM(leaves=leaves, deviation_weight=deviation, error_weight=error)
    return config.build(SECONDS, EVEN)


LOGITS = [0.3, -1.2, 0.8]


@pytest.mark.parametrize(("label", "leaf"), [(0, 0), (1.5, 0), (3.9, 1), (4.5, 2), (8, 3), (11, 3)])
def test_the_likelihood_is_that_of_the_path(label: float, leaf: int) -> None:
    found = _head().loss(torch.tensor([LOGITS]), torch.tensor([float(label)])).item()
    assert found == pytest.approx(-math.log(_leaves(LOGITS)[leaf]), rel=1e-5)


def test_the_two_further_terms_by_hand() -> None:
    chances, values = _leaves(LOGITS), [1.0, 3.0, 5.0, 7.0]
    spread = math.sqrt(fmean((k + 0.5 - 4) ** 2 for k in range(8)))
    mean = sum(p * v for p, v in zip(chances, values, strict=True))
    variance = sum(p * (v - mean) ** 2 for p, v in zip(chances, values, strict=True))
    logits, label = torch.tensor([LOGITS]), torch.tensor([4.5])
    plain = -math.log(chances[2])
    found = _head(deviation=0.7).loss(logits, label).item()
    assert found == pytest.approx(plain + 0.7 * math.sqrt(variance) / spread, rel=1e-5)
    found = _head(error=0.3).loss(logits, label).item()
    assert found == pytest.approx(plain + 0.3 * ((mean - 4.5) / spread) ** 2, rel=1e-5)
    assert _head().predict(logits).item() == pytest.approx(mean)


def test_a_tie_over_several_leaves_is_found_in_any_of_them() -> None:
    at = (0.0,) * 6 + (4.0, 6.0, 8.0)  # Ranks 0 to 5/8 are 0: leaves 0, 1 and half of 2.
    head = TPM(leaves=4, deviation_weight=0, error_weight=0).build(
        SECONDS, TargetStats(mean=1.0, std=1.0, count=9, quantiles=at)
    )
    chances = _leaves(LOGITS)
    losses = head.loss(torch.tensor([LOGITS]).expand(2, -1), torch.tensor([0.0, 1e-3]))
    expected = [chances[0] + chances[1] + 0.5 * chances[2], chances[2]]
    assert losses.tolist() == pytest.approx([-math.log(each) for each in expected], rel=1e-5)


@pytest.mark.parametrize(
    ("bound", "open_shares"),
    [
        (0.0, [1, 1, 1, 1]),
        (1.5, [0.25, 1, 1, 1]),
        (4.0, [0, 0, 1, 1]),
        (5.0, [0, 0, 0.5, 1]),
        (7.0, [0, 0, 0, 1]),  # In the last leaf nothing is beyond to compare with.
        (8.0, [0, 0, 0, 1]),
    ],
)
def test_a_bound_leaves_what_is_beyond_it(bound: float, open_shares: list[float]) -> None:
    chances, values = _leaves(LOGITS), [1.0, 3.0, 5.0, 7.0]
    left = [share * p for share, p in zip(open_shares, chances, strict=True)]
    logits, label = torch.tensor([LOGITS]), torch.tensor([bound])
    censored = {"censored": torch.ones(1)}
    plain = _head().loss(logits, label, censored).item()
    assert plain == pytest.approx(-math.log(sum(left)), rel=1e-5, abs=1e-6)
    spread = math.sqrt(fmean((k + 0.5 - 4) ** 2 for k in range(8)))
    mean = sum(p * v for p, v in zip(chances, values, strict=True))
    beyond = sum(p * v for p, v in zip(left, values, strict=True)) / sum(left)
    found = _head(error=0.3).loss(logits, label, censored).item()
    expected = plain + 0.3 * ((mean - max(beyond, bound)) / spread) ** 2
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_leaves_stand_for_their_mean_label_in_the_labels_unit() -> None:
    head = TPM(leaves=8).build(TASK, SHOWN)
    for leaf in range(8):
        logits = torch.tensor([[_towards(leaf, node) for node in range(7)]])
        expected = 1000 * slow_mean(SHOWN.quantiles, leaf / 8, (leaf + 1) / 8)
        assert head.predict(logits).item() == pytest.approx(expected, rel=1e-3, abs=1e-3)
        for level, name in ((0.1, "p10"), (0.5, "p50"), (0.9, "p90")):
            expected = 1000 * slow_time(SHOWN.quantiles, (leaf + level) / 8)
            assert head.further(logits)[name].item() == pytest.approx(expected)


def _towards(leaf: int, node: int) -> float:
    """The logit by which each node of a tree of 8 leads to a leaf."""
    depth = (node + 1).bit_length() - 1
    return 100.0 if leaf >> (2 - depth) & 1 else -100.0


def test_it_starts_as_the_training_labels() -> None:
    head = TPM().build(TASK, SHOWN)
    start = head.initial_logits()[None]
    assert head.predict(start).item() == pytest.approx(
        1000 * slow_mean(SHOWN.quantiles, 0, 1), rel=2e-2
    )
    found = [each.item() for each in head.further(start).values()]
    expected = [1000 * slow_time(SHOWN.quantiles, level) for level in (0.1, 0.5, 0.9)]
    assert found == pytest.approx(expected)


def test_the_optimum_of_the_likelihood_is_the_sample_within_its_leaves() -> None:
    sample = np.random.default_rng(0).gamma(2.0, 20.0, 2000)
    stats = stats_of_bounds(sample, np.zeros(2000, dtype=bool))
    part = sample[:500]
    head = TPM(leaves=8, deviation_weight=0, error_weight=0).build(SECONDS, stats)
    best = head.predict(smooth_optimum(head, part.tolist())).item()
    edges = [stats.quantiles[64 * k] for k in range(1, 8)]
    leaf = np.searchsorted(edges, part)
    ordered = [slow_mean(stats.quantiles, k / 8, (k + 1) / 8) for k in range(8)]
    expected = sum(ordered[k] * np.mean(leaf == k) for k in range(8))
    assert best == pytest.approx(expected, rel=5e-3)
    assert best == pytest.approx(part.mean(), rel=0.02)


def test_the_slope_under_bounds_is_the_likelihoods_and_a_fixed_targets() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    label = torch.tensor([0.0, 1.5, 4.0, 5.0, 7.0, 8.0])
    censored = {"censored": torch.ones(6)}
    head = _head(deviation=0.5)
    assert torch.autograd.gradcheck(lambda at: head.loss(at, label, censored), (logits,))


def test_what_is_expected_beyond_a_bound_is_a_fixed_target() -> None:
    logits = torch.tensor([LOGITS], dtype=torch.float64, requires_grad=True)
    spread = math.sqrt(fmean((k + 0.5 - 4) ** 2 for k in range(8)))
    label, censored = torch.tensor([5.0]), {"censored": torch.ones(1)}
    beyond = (0.5 * _leaves(LOGITS)[2] * 5 + _leaves(LOGITS)[3] * 7) / (
        0.5 * _leaves(LOGITS)[2] + _leaves(LOGITS)[3]
    )
    mean = _head().predict(logits)
    by_hand = _head().loss(logits, label, censored) + 0.3 * ((mean - beyond) / spread) ** 2
    (expected,) = torch.autograd.grad(by_hand.sum(), logits)
    (found,) = torch.autograd.grad(_head(error=0.3).loss(logits, label, censored).sum(), logits)
    assert torch.allclose(found, expected)


def test_leaves_fill_a_tree() -> None:
    with pytest.raises(ConfigError, match=r"`leaves` must be a power of 2, got 24; try 16, 32"):
        TPM(leaves=24)
    with pytest.raises(ConfigError, match="leaves"):
        TPM(leaves=1)
    assert [TPM(leaves=count).build(SECONDS, EVEN).num_logits for count in (2, 8)] == [1, 7]


def test_one_label_only_is_what_is_predicted() -> None:
    stats = TargetStats(mean=1.0, std=1.0, count=9, quantiles=(5.0,) * 513)
    head = TPM().build(SECONDS, stats)
    logits = torch.randn(4, 31)
    assert head.predict(logits).tolist() == [5.0] * 4
    assert head.loss(logits, torch.full((4,), 5.0)).isfinite().all()


def test_values_rise_along_the_leaves() -> None:
    values = TPM(leaves=512).build(TASK, SHOWN)._buckets.values
    assert all(low <= high for low, high in pairwise(values))
