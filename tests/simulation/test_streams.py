from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polyrank.simulation.streams import (
    Stream,
    cumulative,
    distinct_ids,
    draw_distinct,
    generator,
    gumbel,
    open_uniform,
)


def test_a_block_is_the_same_whenever_it_is_drawn_and_unlike_any_other() -> None:
    places = [
        (seed, stream, block)
        for seed in (0, 1, 2**63 - 1)
        for stream in (Stream.PILOT, Stream.LOG)
        for block in (0, 1, 2**40)
    ]
    drawn = {place: tuple(generator(*place).random(4)) for place in reversed(places)}
    assert {place: tuple(generator(*place).random(4)) for place in places} == drawn
    assert len({number for numbers in drawn.values() for number in numbers}) == 4 * len(places)


@given(st.integers(0, 2**65), st.integers(0, 2**40))
def test_ids_are_distinct_positive_and_too_wide_for_floats(salt: int, first: int) -> None:
    ids = distinct_ids(np.arange(first, first + 2_000), salt)
    assert ids.dtype == np.int64
    assert len(np.unique(ids)) == 2_000
    assert ids.min() >= 0
    assert ids.max() < 2**62
    assert (ids > 2**53).mean() > 0.98


def test_ids_look_arbitrary() -> None:
    ids = distinct_ids(np.arange(4_000), 0)
    assert abs(np.corrcoef(np.arange(4_000), ids)[0, 1]) < 0.06
    assert not np.array_equal(ids, distinct_ids(np.arange(4_000), 1))


class _Zeros(np.random.Generator):
    """The worst draws a generator can make."""

    def random(self, *args: object, **kwargs: object) -> np.ndarray:  # type: ignore[override]
        return np.array([0.0, 1 - 2.0**-53])


def test_the_extreme_draws_stay_finite() -> None:
    rng = _Zeros(np.random.Philox(0))
    uniform = open_uniform(rng, (2,))
    assert (uniform > 0).all()
    assert (uniform < 1).all()
    assert np.isfinite(np.log(uniform / (1 - uniform))).all()
    assert np.isfinite(gumbel(rng, (2,))).all()


def test_gumbel_draws_have_their_mean_and_variance() -> None:
    draws = gumbel(generator(0, Stream.LOG), (100_000,))
    assert abs(draws.mean() - np.euler_gamma) < 0.02
    assert abs(draws.var() - np.pi**2 / 6) < 0.04


@given(st.integers(1, 30), st.integers(0, 40), st.integers(0, 10_000), st.floats(0, 5))
def test_drawn_indices_are_distinct_ascending_and_inside(
    num_drawn: int, extra: int, seed: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    num_items = num_drawn + extra
    weights = cumulative(np.exp(spread * rng.standard_normal(num_items)))
    index = draw_distinct(weights, rng.random((20, num_drawn)))
    assert index.shape == (20, num_drawn)
    assert (np.diff(index, axis=1) > 0).all()
    assert index.min() >= 0
    assert index.max() < num_items


def test_extreme_uniforms_draw_the_ends() -> None:
    weights = cumulative(np.ones(5))
    assert draw_distinct(weights, np.zeros((1, 3))).tolist() == [[0, 1, 2]]
    assert draw_distinct(weights, np.full((1, 3), 1 - 2.0**-53)).tolist() == [[2, 3, 4]]


def test_single_draws_follow_the_weights() -> None:
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    index = draw_distinct(cumulative(weights), np.random.default_rng(0).random((100_000, 1)))
    np.testing.assert_allclose(np.bincount(index[:, 0]) / 100_000, weights / 10, atol=0.006)
