from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.simulation.ranking import rank_candidates
from polyrank.simulation.streams import Stream, generator, gumbel


def _list_probability(score: list[float], noise: float, order: tuple[int, ...]) -> float:
    """Plackett-Luce, term by term."""
    probability = 1.0
    for step in range(len(order)):
        rest = [np.exp(score[index] / noise) for index in order[step:]]
        probability *= rest[0] / sum(rest)
    return probability


def test_lists_come_up_as_often_as_their_propensities_say() -> None:
    score, noise, num_lists = [0.3, -0.5, 1.1], 0.8, 60_000
    draws = gumbel(generator(1, Stream.LOG), (num_lists, 3))
    ranking = rank_candidates(np.tile(score, (num_lists, 1)), noise, draws)
    for order in permutations(range(3)):
        same = (ranking.order_RK == order).all(axis=1)
        expected = _list_probability(score, noise, order)
        np.testing.assert_allclose(ranking.propensity_RK[same].prod(axis=1), expected, rtol=1e-12)
        error = np.sqrt(expected * (1 - expected) / num_lists)
        assert abs(same.mean() - expected) < 4 * error


def test_without_noise_the_score_decides_and_ties_keep_their_order() -> None:
    score = np.array([[1.0, 3.0, 1.0, 2.0]])
    ranking = rank_candidates(score, 0.0, np.array([[9.0, 0.0, 0.0, 0.0]]))
    assert ranking.order_RK.tolist() == [[1, 3, 0, 2]]
    assert ranking.position_RK.tolist() == [[3, 1, 4, 2]]
    assert ranking.propensity_RK.tolist() == [[1.0, 1.0, 1.0, 1.0]]


@pytest.mark.parametrize("noise", [0.01, 1.0, 100.0])
@given(seed=st.integers(0, 1_000), num_candidates=st.integers(1, 20))
def test_rankings_are_permutations_with_probabilities(
    noise: float, seed: int, num_candidates: int
) -> None:
    rng = generator(seed, Stream.LOG)
    score = 10 * rng.standard_normal((8, num_candidates))
    ranking = rank_candidates(score, noise, gumbel(rng, score.shape))
    expected = np.tile(np.arange(num_candidates), (8, 1))
    np.testing.assert_array_equal(np.sort(ranking.order_RK, axis=1), expected)
    back = np.take_along_axis(ranking.position_RK, ranking.order_RK, axis=1)
    np.testing.assert_array_equal(back, expected + 1)
    assert (ranking.propensity_RK > 0).all()
    assert (ranking.propensity_RK <= 1).all()
    np.testing.assert_allclose(ranking.propensity_RK[:, -1], 1.0)


def test_a_constant_added_to_the_scores_changes_nothing() -> None:
    rng = generator(2, Stream.LOG)
    score = rng.standard_normal((50, 6))
    noise = gumbel(rng, score.shape)
    first, second = rank_candidates(score, 0.5, noise), rank_candidates(score + 7, 0.5, noise)
    np.testing.assert_array_equal(first.order_RK, second.order_RK)
    np.testing.assert_allclose(first.propensity_RK, second.propensity_RK, rtol=1e-9)
