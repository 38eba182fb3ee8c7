"""Errors over seeds and users: by hand, by a slow second way, and by how often they hold."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from polyrank.audit.gain import Gain, combine, gain_of, gain_of_users
from polyrank.errors import ConfigError
from tests.audit.verdict_rates import PARTS, coverage


def test_without_users_it_is_students_t_over_seeds() -> None:
    differences = np.array([0.3, -0.1, 0.4, 0.2])
    flat = np.repeat(differences[:, None], 50, axis=1)
    found = gain_of(differences, flat, 1_000)
    oracle = stats.ttest_1samp(differences, 0.0)
    bounds = oracle.confidence_interval(0.95)
    assert found.value == pytest.approx(0.2)
    assert found.user_variance == 0
    assert found.degrees == pytest.approx(3)
    assert found.p_value() == pytest.approx(oracle.pvalue)
    assert found.interval(0.05) == pytest.approx((bounds.low, bounds.high))
    shifted = stats.ttest_1samp(differences, -0.1).pvalue
    assert found.p_value(-0.1) == pytest.approx(shifted)


def test_without_seeds_it_is_the_spread_over_users() -> None:
    draws = np.random.default_rng(0).normal(0, 0.3, 80)
    found = gain_of(np.full(3, 0.2), np.tile(draws, (3, 1)), 50)
    assert found.seed_variance == pytest.approx(0, abs=1e-30)
    assert found.user_variance == pytest.approx(draws.var(ddof=1) * 50 / 49)
    assert found.error == pytest.approx(math.sqrt(draws.var(ddof=1) * 50 / 49))
    assert found.degrees == pytest.approx(49)


def test_users_variance_is_the_covariance_of_seeds() -> None:
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(4, 70)) + 2 * rng.normal(size=70)
    found = gain_of(rng.normal(size=4), draws, 30)
    pairs = [np.cov(draws[one], draws[other])[0, 1] for one, other in combinations(range(4), 2)]
    assert found.user_variance == pytest.approx(np.mean(pairs) * 30 / 29)


def test_the_two_parts_add_up_with_satterthwaites_freedom() -> None:
    error, degrees = combine(2.0, 4, 3.0, 99)
    assert error == pytest.approx(math.sqrt(5))
    assert degrees == pytest.approx(25 / (4 / 4 + 9 / 99))
    assert combine(0.0, 4, 0.0, 99) == (0.0, 4)


def test_order_of_seeds_and_scale_and_sign() -> None:
    rng = np.random.default_rng(2)
    points, draws = rng.normal(size=5), rng.normal(size=(5, 60)) + rng.normal(size=60)
    one = gain_of(points, draws, 40)
    order = rng.permutation(5)
    other = gain_of(points[order], draws[order], 40)
    turned = gain_of(-3 * points, -3 * draws, 40)
    assert one.value is not None
    assert one.error is not None
    assert other.error == pytest.approx(one.error)
    assert turned.value == pytest.approx(-3 * one.value)
    assert turned.error == pytest.approx(3 * one.error)
    assert turned.degrees == pytest.approx(one.degrees)
    assert turned.p_value() == pytest.approx(one.p_value())


def test_one_seed_has_no_error_but_that_of_users() -> None:
    draws = np.random.default_rng(0).normal(0.1, 0.3, (1, 80))
    alone = gain_of(np.array([0.1]), draws, 50)
    assert alone.value == 0.1
    assert alone.error is None
    assert alone.interval(0.05) is None
    assert alone.p_value() is None
    assert alone.detectable(0.05) is None
    assert alone.detectable(0.05, seeds=5) is None
    assert "one seed" in str(alone.reason)
    users = gain_of_users(0.1, draws[0], 50)
    assert users.error == pytest.approx(math.sqrt(draws.var(ddof=1) * 50 / 49))
    assert users.degrees == 49
    assert users.seed_variance is None
    assert users.detectable(0.05, seeds=5) is None
    assert gain_of_users(math.nan, draws[0], 50).reason == "the metric is undefined in a run"


def test_what_is_undefined_says_why() -> None:
    draws = np.random.default_rng(0).normal(size=(3, 100))
    points = np.arange(3.0)
    few = gain_of(points, draws, 1)
    assert (few.value, few.error) == (1.0, None)
    assert few.reason == "fewer than 2 users to draw from"
    assert gain_of_users(1.0, draws[0], 1).reason == few.reason
    lost = draws.copy()
    lost[1, :5] = np.nan
    kept = gain_of(points, lost, 9)
    assert kept.error == pytest.approx(gain_of(points, lost[:, 5:], 9).error)
    lost[2, 5] = np.nan
    assert gain_of(points, lost, 9).reason == "undefined in 6 of 100 draws of users"
    nothing = gain_of(np.array([0.1, np.nan]), draws[:2], 9)
    assert (nothing.value, nothing.p_value()) == (None, None)
    assert nothing.reason == "the metric is undefined in a run"
    assert gain_of(np.array([]), draws[:0], 9).reason == "no seed has all runs"


def test_runs_that_differ_in_nothing() -> None:
    same = gain_of(np.zeros(3), np.zeros((3, 50)), 9)
    assert (same.error, same.p_value(), same.p_value(-0.1)) == (0.0, 1.0, 0.0)
    assert same.interval(0.05) == (0.0, 0.0)


def test_power_is_that_of_a_noncentral_t() -> None:
    gain = Gain(value=0.0, error=0.5, degrees=4, seed_variance=1.25, user_variance=0.0, seeds=5)
    for power in (0.8, 0.9):
        effect = gain.detectable(0.05, power)
        assert effect is not None
        beyond = stats.t.ppf(0.975, 4)
        assert stats.nct.sf(beyond, 4, effect / 0.5) == pytest.approx(power, abs=0.015)
    assert gain.detectable(0.05, seeds=5) == pytest.approx(gain.detectable(0.05))
    # Ten seeds: the error by root 2, the freedom of 9.
    factor = (stats.t.ppf(0.975, 9) + stats.t.ppf(0.8, 9)) / math.sqrt(2)
    assert gain.detectable(0.05, seeds=10) == pytest.approx(0.5 * factor)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"power": 0.3}, "`power`"), ({"power": 1.0}, "`power`"), ({"seeds": 1}, "`seeds`")],
)
def test_power_out_of_range(settings: dict[str, float], message: str) -> None:
    gain = gain_of(np.arange(3.0), np.random.default_rng(0).normal(size=(3, 50)), 9)
    with pytest.raises(ConfigError, match=message):
        gain.detectable(0.05, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("parts", list(PARTS))
def test_intervals_of_five_seeds_hold_the_truth(parts: str) -> None:
    found = coverage(parts, 5, 150)
    assert 0.9 <= found.ours <= 0.99
    if parts == "seeds":
        assert found.drawn_seeds < 0.88


@pytest.mark.nightly
@pytest.mark.parametrize("parts", list(PARTS))
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_hold_the_truth_over_thousands_of_runs(parts: str, seeds: int) -> None:
    assert 0.92 <= coverage(parts, seeds, 3_000, users=200).ours <= 0.98
