"""Who comes back: by hand, and which way each event moves it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.errors import ConfigError
from polyrank.simulation import FeedConfig
from polyrank.simulation.experiment import ExperimentConfig, ReturnConfig, SimulationConfig
from polyrank.simulation.experiment.returning import draw_bases, return_probability

EVENTS = ("satisfied_long_views", "quick_exits", "background_plays", "reports")
SIGNS = {name: 1 if name == "satisfied_long_views" else -1 for name in EVENTS}


def probability(config: ReturnConfig, base: float, **counts: int) -> float:
    columns = {name: np.array([counts.get(name, 0)]) for name in EVENTS}
    return float(return_probability(config, np.array([base]), columns)[0])


def test_by_hand() -> None:
    config = ReturnConfig()
    base = math.log(0.8 / 0.2)
    assert probability(config, base) == pytest.approx(0.8)
    # The numbers of docs/simulation.md: one event each.
    assert probability(config, base, satisfied_long_views=1) == pytest.approx(0.8565, abs=1e-4)
    assert probability(config, base, quick_exits=1) == pytest.approx(0.7283, abs=1e-4)
    # 0 + .4 * 3 - .4 * 2 - .2 * 1 - 1.2 * 1 = -1
    day = {"satisfied_long_views": 7, "quick_exits": 3, "background_plays": 1, "reports": 1}
    assert probability(config, 0.0, **day) == pytest.approx(1 / (1 + math.e))


counts = st.fixed_dictionaries({name: st.integers(0, 500) for name in EVENTS})


@given(counts, st.sampled_from(EVENTS), st.floats(-3, 3))
def test_each_event_moves_it_its_way_and_less_than_the_one_before(
    day: dict[str, int], event: str, base: float
) -> None:
    def logit(more: int) -> float:
        found = probability(ReturnConfig(), base, **{**day, event: day[event] + more})
        return math.log(found / (1 - found))

    first, second = logit(1) - logit(0), logit(2) - logit(1)
    assert SIGNS[event] * first > 0
    assert abs(second) < abs(first) + 1e-6


def test_bases_have_the_configured_median_and_spread() -> None:
    config = ReturnConfig(base_rate=0.6, base_spread=1.5)
    base_U = draw_bases(FeedConfig(num_users=20_000), config)
    assert 1 / (1 + np.exp(-np.median(base_U))) == pytest.approx(0.6, abs=0.01)
    assert base_U.std() == pytest.approx(1.5, rel=0.02)
    same_U = draw_bases(FeedConfig(num_users=3), ReturnConfig(base_rate=0.6, base_spread=0))
    np.testing.assert_allclose(same_U, math.log(1.5))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ReturnConfig(background_play_s=5), r"above `quick_exit_s` 5, got 5; raise it"),
        (lambda: ReturnConfig(base_rate=1.0), "less than 1"),
        (lambda: ReturnConfig(**{"bored": 1}), "bored"),
        (lambda: ExperimentConfig(days=0), "days"),
        (lambda: SimulationConfig(rows=10), "rows"),
    ],
)
def test_what_is_refused(make: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make()
