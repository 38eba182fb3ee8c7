"""Drawn weights: their law, their density, and what may be asked of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.errors import ConfigError, DataError
from polyrank.fusion import WeightedSum
from polyrank.fusion.off_policy import WeightJitter

CENTRE = {"click": 1.0, "like": 20.0, "report": -100.0, "off": 0.0}
JITTER = WeightJitter()


def _drawn(num_requests: int, seed: int = 0) -> dict[str, Any]:
    rows = [WeightJitter(seed=seed).draw(CENTRE, request) for request in range(num_requests)]
    return {name: np.array([row[name] for row in rows]) for name in CENTRE}


def test_weights_are_uniform_around_the_centre_and_independent() -> None:
    drawn = _drawn(20_000)
    shares = []
    for name in ("click", "like", "report"):
        share_N = (drawn[name] / CENTRE[name] - 0.85) / 0.3
        assert share_N.min() > 0
        assert share_N.max() < 1
        # Kolmogorov's bound at one in a thousand.
        expected_N = np.arange(1, 20_001) / 20_000
        assert np.abs(np.sort(share_N) - expected_N).max() < 1.95 / np.sqrt(20_000)
        shares.append(share_N)
    off_diagonal = np.corrcoef(shares) - np.eye(3)
    assert np.abs(off_diagonal).max() < 4 / np.sqrt(20_000)
    assert (drawn["off"] == 0).all()


def test_a_draw_is_a_function_of_seed_and_request() -> None:
    first = JITTER.draw(CENTRE, "r-1")
    assert JITTER.draw(CENTRE, "r-1") == first
    assert JITTER.draw(CENTRE, "r-2")["click"] != first["click"]
    assert WeightJitter(seed=1).draw(CENTRE, "r-1")["click"] != first["click"]
    assert JITTER.draw(CENTRE, 17) == JITTER.draw(CENTRE, "17")
    fewer = {"report": -100.0, "click": 1.0}
    assert JITTER.draw(fewer, "r-1") == {name: first[name] for name in fewer}


def test_the_same_bits_in_every_process() -> None:
    """Written down, so that a log of today can be replayed tomorrow."""
    assert JITTER.draw({"click": 1.0}, "r-17") == {"click": 0.9382237918717726}


def test_names_and_requests_cannot_run_into_each_other() -> None:
    one = JITTER.draw({"c": 1.0}, "ab")["c"]
    assert JITTER.draw({"bc": 1.0}, "a")["bc"] != one
    assert JITTER.draw({'", "c': 1.0}, "a")['", "c'] != one


def test_the_density_is_one_over_the_volume_of_the_box() -> None:
    density_N = JITTER.density(CENTRE, _drawn(5))
    np.testing.assert_allclose(density_N, 1 / (0.3 * 6 * 30), rtol=1e-12)
    outside = {"click": 1.16, "like": 20.0, "report": -100.0, "off": 0.0}
    assert JITTER.density(CENTRE, outside) == 0
    assert JITTER.density(CENTRE, outside | {"click": 1.0}) > 0
    assert JITTER.density(CENTRE, outside | {"click": 1.0, "off": 0.1}) == 0
    assert JITTER.density({}, {}) == 1


def test_the_density_adds_up_to_one() -> None:
    side_L = (np.arange(400) + 0.5) / 400 * 2
    first_L2, second_L2 = np.meshgrid(side_L, side_L)
    drawn = {"click": first_L2.ravel(), "like": -second_L2.ravel()}
    density_N = WeightJitter(scale=0.4).density({"click": 1.0, "like": -1.25}, drawn)
    assert density_N.sum() * (2 / 400) ** 2 == pytest.approx(1, rel=0.01)


def test_the_importance_is_the_ratio_of_densities() -> None:
    centre, other = {"a": 2.0, "b": -1.0}, {"a": 2.1, "b": -1.0}
    drawn = {"a": np.array([1.9, 2.1, 2.29]), "b": np.array([-1.0, -1.05, -1.0])}
    # Sides 0.6 and 0.3; the other's 2.1 +- 0.105 and 1 +- 0.05.
    found_N = JITTER.importance(centre, drawn, WeightJitter(scale=0.05), other)
    np.testing.assert_allclose(found_N, [0, 0.6 / 0.21 * 0.3 / 0.1, 0], rtol=1e-12)
    share = JITTER.effective_share(centre, WeightJitter(scale=0.05), other)
    assert share == pytest.approx(0.21 / 0.6 / 3)


@given(
    st.floats(1e-9, 1e9) | st.floats(-1e9, -1e-9) | st.just(0.0),
    st.floats(0.01, 0.9),
    st.integers(),
)
def test_a_jitter_knows_its_own_draws(weight: float, scale: float, seed: int) -> None:
    jitter = WeightJitter(scale=scale, seed=seed)
    centre = {"click": weight}
    drawn = jitter.draw(centre, seed)
    assert abs(drawn["click"] - weight) <= abs(weight) * scale * (1 + 1e-9)
    assert jitter.importance(centre, drawn, WeightJitter(scale=scale), centre) == 1
    assert jitter.effective_share(centre, jitter, centre) == 1


def test_drawn_weights_are_what_a_value_model_takes() -> None:
    model = WeightedSum(terms={"click": 1.0, "like": 20.0})
    drawn = JITTER.draw(model.tunable, "r-1")
    assert model.tuned(drawn).tunable == drawn


@pytest.mark.parametrize(
    ("other", "other_centre", "message"),
    [
        (0.15, {"a": 1.01, "b": 1.0}, r"draws it from 0.85 to 1.15, which does not hold 0.8585"),
        (0.2, {"a": 1.0, "b": 1.0}, "does not hold 0.8 to 1.2"),
        (0.05, {"a": 0.85, "b": 1.0}, "does not hold 0.8075 to 0.8925"),
        (0.05, {"a": 1.0, "b": 0.0}, "does not hold 0 to 0"),
        (0.05, {"a": 1.0}, "'b': is missing"),
        (0.05, {"a": 1.0, "b": 1.0, "c": 1.0}, "'c': is not in the centre"),
    ],
)
def test_weights_that_are_never_drawn_cannot_be_judged(
    other: float, other_centre: dict[str, float], message: str
) -> None:
    centre = {"a": 1.0, "b": 1.0}
    with pytest.raises(ConfigError, match=message):
        JITTER.importance(centre, centre, WeightJitter(scale=other), other_centre)
    with pytest.raises(ConfigError, match=message):
        JITTER.effective_share(centre, WeightJitter(scale=other), other_centre)


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        ({"a": 1.2, "b": 1.0}, "1 of 1 rows have weights that a jitter of 0.15"),
        ({"a": np.array([1.0, np.nan]), "b": np.array([1.0, 1.0])}, "1 of 2 rows"),
        ({"a": 1.0}, "'b': is missing"),
        ({"a": 1.0, "b": 1.0, "bb": 1.0}, "'bb': is not in the centre. Did you mean 'b'"),
        ({"a": np.ones(2), "b": np.ones(3)}, r"shapes \(2,\), \(3,\)"),
        ({"a": np.ones((2, 2)), "b": np.ones((2, 2))}, r"shapes \(2, 2\)"),
    ],
)
def test_weights_of_another_log(drawn: dict[str, Any], message: str) -> None:
    centre = {"a": 1.0, "b": 1.0}
    with pytest.raises(DataError, match=message):
        JITTER.importance(centre, drawn, WeightJitter(scale=0.05), centre)


def test_a_zero_weight_next_to_one_that_is_drawn() -> None:
    with pytest.raises(ConfigError, match="from 0 to 0, which does not hold 0.95"):
        JITTER.effective_share({"a": 0.0}, WeightJitter(scale=0.05), {"a": 1.0})


@pytest.mark.parametrize("scale", [0.0, 1.0, -0.1, float("nan")])
def test_scales(scale: float) -> None:
    with pytest.raises(ConfigError, match="scale"):
        WeightJitter(scale=scale)


@pytest.mark.parametrize("weight", ["nan", "inf", "1e-300", "-1e10"])
def test_a_centre_without_proportion(weight: str) -> None:
    with pytest.raises(ConfigError, match="'click': must be 0 or of a size from 1e-09 to 1e"):
        JITTER.draw({"click": float(weight)}, 1)
