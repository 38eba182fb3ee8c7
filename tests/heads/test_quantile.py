"""Quantiles that never cross."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch

from polyrank.data import TargetStats
from polyrank.errors import ConfigError
from polyrank.heads import Quantile
from polyrank.schema import Regression
from tests.heads.optimum import kinked_optimum
from tests.heads.samples import stats_of

TASK = Regression(name="price")
SHOWN = TargetStats(mean=10.0, std=4.0, count=9)


def test_the_loss_by_hand() -> None:
    head = Quantile(levels=(0.2, 0.5), predicted=0.5).build(TASK, SHOWN)
    step = float(np.log(np.expm1(0.5)))  # the second quantile is 0.5 above the first
    logits = torch.tensor([[0.0, step]] * 3)
    losses = head.loss(logits, torch.tensor([14.0, 11.0, 6.0]))
    # Targets 1, .25, -1 against the quantiles 0 and .5.
    expected = [
        (0.2 * 1 + 0.5 * 0.5) / 2,
        (0.2 * 0.25 + 0.5 * 0.25) / 2,
        (0.8 * 1 + 0.5 * 1.5) / 2,
    ]
    assert losses.tolist() == pytest.approx(expected, rel=1e-5)
    assert head.quantiles(logits)[0].tolist() == pytest.approx([10.0, 12.0])
    assert head.predict(logits)[0].item() == pytest.approx(12.0)


@pytest.mark.parametrize("predicted", [0.1, 0.5, 0.9])
def test_it_predicts_the_level_named(predicted: float) -> None:
    config = Quantile(predicted=predicted)
    head = config.build(TASK, SHOWN)
    logits = torch.randn(5, 3)
    place = config.levels.index(predicted)
    assert torch.equal(head.predict(logits), head.quantiles(logits)[:, place])


def test_it_starts_as_a_normal_law() -> None:
    levels = (0.05, 0.3, 0.5, 0.501, 0.99)
    head = Quantile(levels=levels).build(TASK, SHOWN)
    expected = [NormalDist(10, 4).inv_cdf(level) for level in levels]
    assert head.quantiles(head.initial_logits()[None])[0].tolist() == pytest.approx(expected)
    assert head.predict(head.initial_logits()[None]).item() == pytest.approx(10.0, abs=1e-5)


def test_quantiles_never_cross() -> None:
    head = Quantile(levels=(0.1, 0.2, 0.3, 0.9), predicted=0.2).build(TASK, SHOWN)
    logits = torch.cat([torch.randn(500, 4) * scale for scale in (1, 30, 1e4)])
    quantiles = head.quantiles(logits)
    assert quantiles.shape == (1500, 4)
    assert quantiles.dtype == torch.float64
    assert (quantiles.diff(dim=1) >= 0).all()
    assert (quantiles[:500].diff(dim=1) > 0).all()


@pytest.mark.parametrize("levels", [(0.5,), (0.1, 0.5, 0.9), (0.5, 0.8, 0.95)])
def test_the_optimum_is_the_quantiles_of_a_skewed_sample(levels: tuple[float, ...]) -> None:
    sample = np.random.default_rng(len(levels)).gamma(2.0, 3.0, 301)
    head = Quantile(levels=levels).build(TASK, stats_of([*sample, 40.0]))
    best = kinked_optimum(head, sample.tolist())
    ordered = np.sort(sample)
    for level, found in zip(levels, head.quantiles(best)[0].tolist(), strict=True):
        place = int(np.floor(level * 301))
        slack = 0.02
        assert ordered[place - 2] - slack <= found <= ordered[min(place + 2, 300)] + slack
    median = head.predict(best).item()
    assert median == pytest.approx(float(np.median(sample)), abs=0.15)


def test_one_level_is_one_logit_and_nothing_beside() -> None:
    head = Quantile(levels=(0.9,), predicted=0.9).build(TASK, SHOWN)
    assert head.num_logits == 1
    assert dict(head.further(torch.zeros(2, 1))) == {}


def test_all_levels_are_predicted_beside() -> None:
    head = Quantile(levels=(0.025, 0.07, 0.5, 0.999)).build(TASK, SHOWN)
    logits = torch.randn(5, 4)
    found = head.further(logits)
    assert list(found) == ["p2.5", "p7", "p50", "p99.9"]
    assert torch.equal(torch.stack(list(found.values()), 1), head.quantiles(logits))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"levels": (0.5, 0.1)}, r"`levels` must rise, got \[0.5, 0.1\]; sort them"),
        ({"levels": (0.5, 0.5)}, "name each once"),
        ({"levels": (0.1, 0.9)}, r"`predicted` must be one of `levels`, got 0.5"),
        ({"levels": ()}, "levels: must not be empty"),
        ({"levels": (0.5, 1.0)}, r"less than 1, got 1.0"),
        ({"predicted": 0.0}, r"greater than 0, got 0.0"),
    ],
)
def test_levels_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Quantile(**given)
