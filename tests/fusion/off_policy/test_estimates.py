"""Estimates against arithmetic by hand, and what each estimator must keep."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from polyrank.fusion.off_policy import IPS, SNIPS, ClippedIPS, DoublyRobust, Estimator, Logged
from tests.fusion.off_policy.world import world

Floats = NDArray[np.float64]
Z = 1.959963984540054
REWARD = np.array([1.0, 0.0, 1.0, 2.0])
# Importances 1.6, 0.8, 0.4 and 1.2, which average 1.
PROPENSITY = np.array([0.5, 0.5, 0.5, 0.5])
TARGET = np.array([0.8, 0.4, 0.2, 0.6])
FOUR = Logged(REWARD, PROPENSITY, TARGET)


def test_ips_of_four_rows() -> None:
    found = IPS(min_effective=2).estimate(FOUR)
    # 1.6, 0, 0.4, 2.4: mean 1.1, deviations 0.5, -1.1, -0.7, 1.3, squares 0.25 1.21 0.49 1.69.
    reach = Z * math.sqrt(3.64 / 3 / 4)
    assert found.value == pytest.approx(1.1)
    assert found.lower == pytest.approx(1.1 - reach)
    assert found.upper == pytest.approx(1.1 + reach)
    assert found.effective_rows == pytest.approx(16 / (2.56 + 0.64 + 0.16 + 1.44))
    assert (found.rows, found.clipped_share, found.method) == (4, 0.0, "ips")


def test_snips_of_four_rows_whose_importances_do_not_average_one() -> None:
    target = np.array([0.8, 0.4, 0.2, 0.5])
    found = SNIPS(min_effective=2, confidence=0.9).estimate(Logged(REWARD, PROPENSITY, target))
    # Importances 1.6 0.8 0.4 1.0 (3.8), times rewards 1.6 0 0.4 2.0 (4.0).
    value = 4 / 3.8
    deviations = [1.6 * (1 - value), 0.8 * (0 - value), 0.4 * (1 - value), 1.0 * (2 - value)]
    error = math.sqrt(sum(one**2 for one in deviations) * 4 / 3) / 3.8
    assert found.value == pytest.approx(value)
    assert found.upper - found.value == pytest.approx(1.6448536269514722 * error)
    assert found.method == "snips"


def test_clipped_ips_of_four_rows() -> None:
    found = ClippedIPS(min_effective=2, cap=1, reward_range=(0, 3)).estimate(FOUR)
    # Importances 1, 0.8, 0.4, 1 (3.2 of 4, so a fifth is lost): 1, 0, 0.4, 2 of mean 0.85.
    assert found.value == pytest.approx(0.85)
    assert found.clipped_share == 0.5
    assert found.effective_rows == pytest.approx(3.2**2 / (1 + 0.64 + 0.16 + 1))
    # Lost rewards all 0: 0.85. All 3: importance x (reward - 3) + 3 = 1, 0.6, 2.2, 2: 1.45.
    low = sum((one - 0.85) ** 2 for one in (1, 0, 0.4, 2))
    high = sum((one - 1.45) ** 2 for one in (1, 0.6, 2.2, 2))
    assert found.lower == pytest.approx(0.85 - Z * math.sqrt(low / 3 / 4))
    assert found.upper == pytest.approx(1.45 + Z * math.sqrt(high / 3 / 4))


def test_doubly_robust_of_four_rows() -> None:
    model = np.array([0.5, 0.5, 1.0, 1.5])
    expected = np.array([0.6, 0.4, 0.9, 1.0])
    logged = Logged(REWARD, PROPENSITY, TARGET, model_N=model, model_target_N=expected)
    found = DoublyRobust(min_effective=2).estimate(logged)
    # 0.6 + 0.8, 0.4 - 0.4, 0.9 + 0, 1.0 + 0.6.
    squares = sum((one - 0.975) ** 2 for one in (1.4, 0.0, 0.9, 1.6))
    assert found.value == pytest.approx(0.975)
    assert found.lower == pytest.approx(0.975 - Z * math.sqrt(squares / 3 / 4))


def test_clusters_and_weights_of_four_rows() -> None:
    weight, cluster = np.array([1.0, 2.0, 1.0, 1.0]), np.array(["a", "b", "b", "c"])
    found = IPS(min_effective=2).estimate(Logged(REWARD, PROPENSITY, TARGET, weight, cluster))
    # (1.6 + 2 x 0 + 0.4 + 2.4) / 5 = 0.88; sums of deviations a 0.72, b -1.76 - 0.48, c 1.52.
    error = math.sqrt((0.72**2 + 2.24**2 + 1.52**2) * 3 / 2) / 5
    assert found.value == pytest.approx(0.88)
    assert found.upper == pytest.approx(0.88 + Z * error)
    assert found.effective_rows == pytest.approx(4.8**2 / (1.6**2 * 2 + 0.4**2 + 1.2**2))
    assert found.rows == 4


WORLD = world()
LOG = WORLD.log(400, 3, error=0.1)


def _with(reward_N: Floats, **columns: Any) -> Logged:
    return Logged(reward_N, LOG.propensity_N, LOG.target_N, cluster_N=LOG.cluster_N, **columns)


def test_a_constant_on_all_rewards_is_added_by_snips_and_not_by_ips() -> None:
    plain, raised = SNIPS().estimate(LOG), SNIPS().estimate(_with(LOG.reward_N + 7))
    assert raised.value == pytest.approx(plain.value + 7)
    assert raised.upper - raised.lower == pytest.approx(plain.upper - plain.lower, rel=1e-9)
    ips, ips_raised = IPS().estimate(LOG), IPS().estimate(_with(LOG.reward_N + 7))
    assert abs(ips_raised.value - ips.value - 7) > 0.01
    assert ips_raised.upper - ips_raised.lower > 2 * (ips.upper - ips.lower)


def test_a_model_of_zero_is_ips() -> None:
    nothing = np.zeros(len(LOG))
    found = DoublyRobust().estimate(_with(LOG.reward_N, model_N=nothing, model_target_N=nothing))
    ips = IPS().estimate(LOG)
    assert (found.value, found.lower, found.upper) == (ips.value, ips.lower, ips.upper)


def test_a_cap_that_cuts_nothing_is_ips() -> None:
    found = ClippedIPS(cap=float(LOG.importance_N.max())).estimate(LOG)
    ips = IPS().estimate(LOG)
    assert (found.value, found.lower, found.upper) == (ips.value, ips.lower, ips.upper)
    assert found.clipped_share == 0


def test_a_cut_value_stays_within_its_interval() -> None:
    """With rewards far from 0 what is cut is more than noise, and the value below the truth."""
    found = ClippedIPS(cap=2).estimate(_with(LOG.reward_N + 100))
    assert found.lower == found.value < 100 + WORLD.truth < found.upper
    below = ClippedIPS(cap=2).estimate(_with(LOG.reward_N - 100))
    assert below.lower < WORLD.truth - 100 < below.value == below.upper


@pytest.mark.parametrize("estimator", [IPS(), SNIPS(), ClippedIPS(), DoublyRobust()])
def test_the_logs_own_policy_earned_what_it_earned(estimator: Estimator) -> None:
    model_N = np.full(len(LOG), 0.3)
    same = Logged(
        LOG.reward_N,
        LOG.propensity_N,
        LOG.propensity_N,
        cluster_N=LOG.cluster_N,
        model_N=model_N,
        model_target_N=model_N,
    )
    found = estimator.estimate(same)
    assert found.value == pytest.approx(LOG.reward_N.mean())
    assert found.effective_rows == pytest.approx(len(LOG))
    # The textbook error of a mean of clusters of equal size.
    mean_C = LOG.reward_N.reshape(400, 5).mean(axis=1)
    assert found.upper - found.value == pytest.approx(Z * mean_C.std(ddof=1) / 20)


def test_more_confidence_is_a_wider_interval() -> None:
    widths = []
    for confidence in (0.5, 0.9, 0.95, 0.999):
        found = SNIPS(confidence=confidence).estimate(LOG)
        assert found.upper - found.value == pytest.approx(found.value - found.lower)
        widths.append(found.upper - found.lower)
    assert widths == sorted(set(widths))


def test_snips_agrees_with_a_bootstrap_over_users() -> None:
    rng = np.random.default_rng(1)
    earned_C = (LOG.importance_N * LOG.reward_N).reshape(400, 5).sum(axis=1)
    total_C = LOG.importance_N.reshape(400, 5).sum(axis=1)
    drawn_RC = rng.integers(0, 400, (2000, 400))
    values_R = earned_C[drawn_RC].sum(axis=1) / total_C[drawn_RC].sum(axis=1)
    found = SNIPS().estimate(LOG)
    assert (found.upper - found.lower) / (2 * Z) == pytest.approx(values_R.std(), rel=0.05)


def test_a_row_that_the_new_policy_never_takes_needs_no_propensity() -> None:
    half_N = np.arange(len(LOG)) % 2 == 0
    propensity_N = np.where(half_N, 0.5, np.where(np.arange(len(LOG)) % 4 == 1, 0.0, np.nan))
    found = IPS().estimate(Logged(LOG.reward_N, propensity_N, np.where(half_N, 1.0, 0.0)))
    assert found.value == pytest.approx(2 * np.where(half_N, LOG.reward_N, 0).mean())
    assert found.effective_rows == pytest.approx(len(LOG) / 2)


def test_snips_normalises_each_place_by_itself() -> None:
    place = np.array([1, 1, 1, 2, 2])
    reward, target = np.array([1.0, 0.0, 2.0, 1.0, 0.0]), np.array([0.8, 0.4, 0.3, 0.6, 0.3])
    logged = Logged(reward, np.full(5, 0.5), target, place_N=place)
    found = SNIPS(min_effective=2).estimate(Logged(reward, np.full(5, 0.5), target))
    assert found.value == pytest.approx(2 * (0.8 + 0.6 + 0.6) / (2 * 2.4))
    # Place 1: (0.8 + 0.6) / 1.5; place 2: 0.6 / 0.9; three rows of one, two of the other.
    mean = SNIPS()._mean(logged)
    assert mean.value == pytest.approx((3 * 1.4 / 1.5 + 2 * 0.6 / 0.9) / 5)
    assert float(mean.moved_C.sum()) == pytest.approx(0, abs=1e-15)


def test_the_error_of_snips_by_place_agrees_with_a_bootstrap() -> None:
    """Also of what varies in how many rows a user has of each place."""
    rng = np.random.default_rng(4)
    user_N = np.repeat(np.arange(500), rng.integers(1, 6, 500))
    place_N = np.concatenate([np.arange(1, count + 1) for count in np.bincount(user_N)])
    target_N = rng.choice([0.1, 0.9], len(user_N))
    reward_N = rng.random(len(user_N)) + 0.8 * place_N
    logged = Logged(
        reward_N, np.full(len(user_N), 0.5), target_N, cluster_N=user_N, place_N=place_N
    )
    found = SNIPS(min_effective=50).estimate(logged)
    rows_C = np.split(np.arange(len(user_N)), np.flatnonzero(np.diff(user_N)) + 1)
    values = []
    for _ in range(600):
        row_N = np.concatenate([rows_C[user] for user in rng.integers(0, 500, 500)])
        drawn = Logged(
            reward_N[row_N], np.full(len(row_N), 0.5), target_N[row_N], place_N=place_N[row_N]
        )
        values.append(SNIPS()._mean(drawn).value)
    assert (found.upper - found.lower) / (2 * Z) == pytest.approx(np.std(values), rel=0.1)


def test_a_difference_of_clipped_values_counts_what_either_lost_against_it() -> None:
    """Of 1.6 0.8 0.4 1.2, and of 1.2 0.4 0.8 1.6, a fifth of the mean is cut."""
    old = Logged(REWARD, PROPENSITY, TARGET[::-1])
    clipped = ClippedIPS(min_effective=2, cap=1, reward_range=(0, 3))
    found = clipped.difference(FOUR, old)
    # 1, 0, 0.4, 2 against 0.6 -> 1, 0, 0.8, 2 at importances 1, 0.4, 0.8, 1.
    assert found.value == pytest.approx((1 + 0.4 + 2 - 1 - 0.8 - 2) / 4)
    # New at its least: 1 0 0.4 2. Old at its most, importance x (reward - 3) + 3: 1 1.8 1.4 2.
    low = [1 - 1, 0 - 1.8, 0.4 - 1.4, 2 - 2]
    # New at its most: 1 0.6 2.2 2. Old at its least: 1 0 0.8 2.
    high = [1 - 1, 0.6 - 0, 2.2 - 0.8, 2 - 2]
    for parts, sign, end in ((low, -1, found.lower), (high, 1, found.upper)):
        mean = sum(parts) / 4
        squares = sum((part - mean) ** 2 for part in parts)
        assert end == pytest.approx(mean + sign * Z * math.sqrt(squares / 3 / 4))
