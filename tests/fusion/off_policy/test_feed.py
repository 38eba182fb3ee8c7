"""Lists of the simulated feed against what the new ranking truly earns there."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from polyrank.fusion.off_policy import (
    IPS,
    SNIPS,
    DoublyRobust,
    Estimator,
    Logged,
    PlackettLuce,
    RankedLog,
)
from tests.fusion.off_policy.coverage import measured
from tests.fusion.off_policy.feed import feed_logs

LOGS, REQUESTS = 200, 600
LEAST = 50.0
UNBIASED: tuple[Estimator, ...] = (
    IPS(min_effective=LEAST),
    SNIPS(min_effective=LEAST),
    DoublyRobust(min_effective=LEAST),
)
ASKED = ((1, 0.0), (3, 1.0))
"""The first place as it would be served, and three places of a noisy ranking."""


@cache
def _logs(asked: tuple[int, float]) -> tuple[tuple[Logged, ...], float]:
    feed = feed_logs(LOGS, REQUESTS)
    logs = tuple(feed.log(number, *asked, error=0.3) for number in range(LOGS))
    return logs, feed.truth(*asked)


@pytest.mark.parametrize("asked", ASKED, ids=["first place", "three places"])
@pytest.mark.parametrize("estimator", UNBIASED, ids=lambda found: str(found.kind))
def test_two_hundred_logs_average_the_truth_and_intervals_hold_it(
    estimator: Estimator, asked: tuple[int, float]
) -> None:
    logs, truth = _logs(asked)
    found = measured(estimator, range(LOGS), logs.__getitem__, truth)
    assert found.refused <= 2
    assert abs(found.bias_in_errors) <= 2
    assert 0.92 <= found.coverage <= 0.98


def test_intervals_of_paired_differences_hold_the_true_one() -> None:
    """To what was logged, and between two rankings that share most of their noise."""
    feed, estimator = feed_logs(LOGS, REQUESTS), SNIPS(min_effective=LEAST)
    warm, cool = (1, 2.0), (1, 1.0)
    logs = [_logs(asked)[0] for asked in (warm, cool)]
    truth = feed.truth(*cool) - feed.truth(*warm)
    logged_truth = float((feed.chance_RK * feed.seen_K)[:, 0].mean())
    pairs = [estimator.difference(new, old) for old, new in zip(*logs, strict=True)]
    held = [one.lower <= truth <= one.upper for one in pairs]
    assert 0.92 <= np.mean(held) <= 0.98
    beyond = [estimator.difference(new) for new in logs[1]]
    gain = feed.truth(*cool) - logged_truth
    assert 0.92 <= np.mean([one.lower <= gain <= one.upper for one in beyond]) <= 0.98
    widths = [one.upper - one.lower for one in pairs]
    alone = [estimator.estimate(new) for new in logs[1]]
    assert np.mean(widths) < 0.75 * np.mean([one.upper - one.lower for one in alone])


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    size_R = rng.integers(1, 7, 500)
    request_N = np.repeat(rng.permutation(500), size_R)
    place_N = np.concatenate([np.arange(1.0, size + 1) for size in size_R])
    left_N = np.repeat(size_R, size_R) - place_N + 1
    columns = {
        "request_N": request_N,
        "place_N": place_N,
        "propensity_N": 1 / left_N,
        "reward_N": rng.random(len(place_N)),
        "weight_N": rng.integers(1, 3, len(place_N)).astype(np.float64),
        "cluster_N": request_N % 300,
        "model_N": rng.random(len(place_N)),
    }
    score_N, order_N = rng.normal(size=len(place_N)), rng.permutation(len(place_N))

    def told(rows_N: NDArray[np.int64]) -> list[float]:
        moved = {name: column_N[rows_N] for name, column_N in columns.items()}
        ranked = RankedLog(**moved, places=2)
        policy = PlackettLuce(temperature=1.5)
        found = [one.estimate(ranked.under(score_N[rows_N], policy)) for one in UNBIASED]
        return [number for one in found for number in (one.value, one.lower, one.effective_rows)]

    assert told(order_N) == pytest.approx(told(np.arange(len(place_N))), rel=1e-9)


@pytest.mark.nightly
@pytest.mark.parametrize("asked", ASKED, ids=["first place", "three places"])
@pytest.mark.parametrize("estimator", UNBIASED, ids=lambda found: str(found.kind))
def test_a_thousand_longer_logs(estimator: Estimator, asked: tuple[int, float]) -> None:
    feed = feed_logs(1000, 1000)
    found = measured(
        estimator, range(1000), lambda number: feed.log(number, *asked, 0.3), feed.truth(*asked)
    )
    assert found.refused <= 50
    assert abs(found.bias_in_errors) <= 3
    assert 0.92 <= found.coverage <= 0.98
