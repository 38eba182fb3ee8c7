"""Too few events for draws over users: exact bounds, and alarms that they are worth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from polyrank.evaluation import NO_GROUP, Observations
from polyrank.monitoring import Calibrated, Thresholds
from polyrank.monitoring.calibration import calibration
from polyrank.monitoring.events import mean_bounds, spread
from polyrank.monitoring.reading import Seen
from polyrank.monitoring.volume import Counting
from polyrank.schema import Binary

ROWS, USERS = 4_000, 200


@settings(max_examples=40)
@given(st.integers(0, 2_000), st.floats(1, 50), st.floats(1e-5, 0.2))
def test_bounds_are_those_of_chi_square(came: int, parts: float, tail: float) -> None:
    """Garwood's limits as they are usually written."""
    count = came / parts
    lower, upper = mean_bounds(count, tail)
    assert upper == pytest.approx(chi2.ppf(1 - tail, 2 * count + 2) / 2, rel=1e-6)
    expected = chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    assert lower == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_spread_by_hand() -> None:
    """Two users who should bring 0.5 and 0.3: 1 + (0.25 + 0.09) / 0.8; with weights of 2 rows
    count as 2, and events come in twos: 2 + (1 + 0.36) / 1.6."""
    chance_N, user_N = np.array([0.2, 0.3, 0.3]), np.array([4, 4, 9])
    assert spread(np.ones(3), chance_N, user_N) == pytest.approx(1.425)
    assert spread(np.full(3, 2.0), chance_N, user_N) == pytest.approx(2.85)
    assert spread(np.ones(3), np.zeros(3), user_N) == 1.0


def judged(came: int, chance: float, users: int = USERS, **more: Any) -> Calibrated:
    """A task of which ``came`` rows, of as many users, are 1."""
    label_N = np.zeros(ROWS)
    label_N[:came] = 1
    told: dict[str, Any] = {
        "predictions": {"buy": np.full(ROWS, chance)},
        "labels": {"buy": label_N},
        "masks": {"buy": np.ones(ROWS, dtype=np.bool_)},
        "groups": {"user": np.arange(ROWS) % users},
    }
    seen = Seen(
        sample=None,
        schema=None,
        outputs=(),
        volume=Counting(None, None, None).volume(0),
        observations=Observations(**{**told, **more}),
        tasks=(Binary(name="buy"),),
    )
    return calibration(seen, Thresholds(), 40)[0]


@pytest.mark.parametrize(
    ("came", "chance", "level"),
    [
        (0, 0.05, "alarm"),  # 200 predicted: the labels do not arrive
        (5, 0.05, "alarm"),
        (9, 0.05, "alarm"),
        (10, 0.05, "alarm"),  # by draws over users
        (0, 0.0025, "alarm"),  # 10 predicted: exp(-10)
        (7, 0.0025, "quiet"),
        (0, 0.002, "quiet"),  # 8 predicted: too few
        (9, 0.0, "quiet"),
        (400, 0.0, "alarm"),  # the model says never
    ],
)
def test_the_worst_miscalibration_is_an_alarm(came: int, chance: float, level: str) -> None:
    found = judged(came, chance)
    assert found.level == level
    assert found.expected == pytest.approx(ROWS * chance)


def test_what_is_shown_of_few_events() -> None:
    """20 rows of a user, each with a chance of 0.05, so counts stand for half as many."""
    found = judged(4, 0.05)
    assert found.ratio == pytest.approx(50)
    by_hand = (100 / (chi2.ppf(0.975, 2 * 2 + 2) / 2), 100 / (chi2.ppf(0.025, 2 * 2) / 2))
    assert (found.lower, found.upper) == pytest.approx(by_hand)
    none = judged(0, 0.05)
    assert none.lower == pytest.approx(100 / -math.log(0.025))
    assert (math.isnan(none.upper), math.isnan(none.ratio)) == (True, True)
    assert none.reason == "the labels sum to 0"


def test_events_of_one_user_do_not_hide_that_most_are_missing() -> None:
    """Most draws of users have none of its 20 events, so draws tell of no ratio."""
    label_N = (np.arange(ROWS) % USERS == 7).astype(float)
    found = judged(0, 0.05, labels={"buy": label_N})
    assert (found.positives, found.level) == (20, "alarm")


def test_rows_of_nobody_are_units_of_their_own() -> None:
    groups = {"user": np.full(ROWS, NO_GROUP)}
    assert judged(0, 0.05, groups=groups).level == "alarm"
    assert judged(0, 0.05, users=29).reason is not None
    assert judged(0, 0.05, users=29).level == "quiet", "too few users"


def test_false_alarms_of_few_events_are_as_rare_as_told() -> None:
    """Users whose rates waver as much as assumed, 12 events expected: no margin, only chance."""
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(150):
        rate_U = random.gamma(1.0, 1.0, 40) * 12 / 40
        came = int(random.poisson(rate_U).sum())
        told = spread(np.ones(40), np.full(40, 0.3), np.arange(40))
        lower, upper = mean_bounds(came / told, 0.025)
        alarms += not lower <= 12 / told <= upper
    assert alarms <= 0.06 * 150
