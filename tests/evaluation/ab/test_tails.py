"""The distributions, against SciPy and against what defines them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from polyrank.errors import ConfigError, DataError
from polyrank.evaluation.ab import holm, sample_ratio
from polyrank.evaluation.ab.sequential import always_valid_p, boundary, planned, reach
from polyrank.evaluation.ab.student import beyond, two_sided

DEGREES = (0.5, 1, 1.7, 4, 33.3, 200, 5e3, 1e6, 1e9, math.inf)


@pytest.mark.parametrize("degrees", DEGREES)
def test_students_tail_is_scipys(degrees: float) -> None:
    for t in (0.0, 1e-9, 0.1, 0.5, 1.0, -1.96, 3.0, 5.0, 20.0):
        expected = 2 * stats.t.sf(abs(t), degrees)
        assert two_sided(t, degrees) == pytest.approx(expected, rel=1e-8 if abs(t) <= 5 else 1e-3)


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_value_beyond_which_a_tail_lies_is_scipys(degrees: float) -> None:
    for tail in (1.0, 0.9, 0.5, 0.05, 1e-3, 1e-9):
        expected = stats.t.isf(tail / 2, degrees)
        assert beyond(tail, degrees) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_the_sequence_is_tuned_to_be_narrowest_at_the_planned_end(alpha: float) -> None:
    # c = t rho² and the boundary as the paper writes them, minimised by search.
    def by_definition(log_c: float) -> float:
        c = math.exp(log_c)
        return math.sqrt(2 * (c + 1) / c * math.log(math.sqrt(c + 1) / alpha))

    best = optimize.minimize_scalar(by_definition, bounds=(-3, 6), method="bounded")
    assert planned(alpha) == pytest.approx(math.exp(best.x), rel=1e-2)
    assert boundary(1.0, alpha) == pytest.approx(best.fun, rel=1e-9)
    lambert = float(special.lambertw(-(alpha**2) / math.e, -1).real)
    assert planned(alpha) == pytest.approx(-lambert - 1, rel=1e-12)
    assert boundary(0.3, alpha) == pytest.approx(by_definition(math.log(0.3 * planned(alpha))))


def test_the_sequence_holds_for_a_walk_at_all_of_its_steps() -> None:
    # Simulated Brownian motion: 4,000 paths of 500 steps, far beyond the planned end.
    steps = np.random.default_rng(0).normal(size=(4_000, 500)).cumsum(axis=1)
    times = np.arange(1, 501)
    bounds = np.array([boundary(time / 100, 0.05) for time in times])
    out = (np.abs(steps) / np.sqrt(times) > bounds).any(axis=1).mean()
    at_once = (np.abs(steps) / np.sqrt(times) > 1.96).any(axis=1).mean()
    assert 0.005 < out <= 0.05
    assert at_once > 0.4


@given(share=st.floats(0.01, 20), alpha=st.floats(0.001, 0.5), degrees=st.floats(3, 1e9))
@settings(max_examples=60, deadline=None)
def test_the_p_value_is_alpha_at_the_end_of_the_interval(
    share: float, alpha: float, degrees: float
) -> None:
    end = reach(share, alpha, degrees)
    if math.isfinite(end):
        assert always_valid_p(end, share, alpha, degrees) == pytest.approx(alpha, rel=1e-4)
        assert end >= beyond(alpha, degrees)
    assert always_valid_p(0.0, share, alpha, degrees) == 1.0


def test_far_too_early_the_sequence_bounds_nothing() -> None:
    assert reach(1e-6, 0.05, 100) == math.inf
    assert always_valid_p(1e9, 1.0, 0.05, 1e3) == 0.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_its_steps_reject(p_values: list[float]) -> None:
    # The procedure as Holm states it: from the smallest, until one is above alpha / those left.
    adjusted = holm(p_values)
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, index in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[index] * (len(p_values) - rank) > alpha:
                break
            rejected.add(int(index))
        assert {i for i, value in enumerate(adjusted) if value <= alpha} == rejected


def test_holm_by_hand_with_a_test_that_could_not_be_made() -> None:
    adjusted = holm([0.02, math.nan, 0.01, 0.9])
    assert adjusted[0] == pytest.approx(0.06)
    assert math.isnan(adjusted[1])
    assert adjusted[2:] == [pytest.approx(0.04), 1.0]
    assert holm([]) == []


@given(
    counts=st.lists(st.integers(0, 10_000), min_size=2, max_size=7).filter(any),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_the_sample_ratio_is_pearsons_chi_square(counts: list[int], seed: int) -> None:
    shares = np.random.default_rng(seed).uniform(0.2, 2, len(counts))
    expected = shares / shares.sum() * sum(counts)
    oracle = stats.chisquare(counts, expected).pvalue
    found = sample_ratio(counts, list(shares))
    assert found.p_value == pytest.approx(oracle, rel=1e-8, abs=1e-300)
    assert found.expected == pytest.approx(tuple(expected))
    assert found.mismatch == (oracle < 0.001)


def test_equal_counts_are_no_mismatch() -> None:
    assert sample_ratio([7, 7], [1, 1]).p_value == 1.0
    assert sample_ratio([7, 7, 7], [1, 1, 1]).p_value == 1.0


@pytest.mark.parametrize("shares", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, math.inf), (1.0, 1, 1)])
def test_shares_are_one_positive_number_an_arm(shares: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="`shares` must be"):
        sample_ratio([5, 5], shares)


def test_no_users_have_no_ratio() -> None:
    with pytest.raises(DataError, match="no arm has a user"):
        sample_ratio([0, 0], [1, 1])
