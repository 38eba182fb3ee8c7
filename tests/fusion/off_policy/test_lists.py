"""Whole lists: chances by hand and by enumeration, and what they must keep."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyrank.errors import ConfigError, DataError
from polyrank.fusion.off_policy import IPS, Lists, Logged, PlackettLuce, RankedLog, is_whole

Floats = NDArray[np.float64]
ORDERS = np.array(list(permutations(range(4))))
NEW = np.array([0.3, -1.0, 2.0, 0.9])
LOGGING = np.array([1.0, 0.5, -0.2, 0.0])


def _by_hand(utility_K: Floats, order: NDArray[np.int64]) -> list[float]:
    """The chance of each item in its place given those above it."""
    power = np.exp(utility_K)[order]
    return [power[place] / power[place:].sum() for place in range(len(order))]


def _every_order(utility_K: Floats) -> tuple[Lists, Floats]:
    """All orders of four items as lists, and the utility of each row."""
    request_N = np.repeat(np.arange(len(ORDERS)), 4)
    return Lists.of(request_N, np.tile(np.arange(1.0, 5.0), len(ORDERS))), utility_K[ORDERS.ravel()]


def test_the_chances_of_a_list_of_three() -> None:
    lists = Lists.of(np.array([7, 7, 7]), np.array([2.0, 3.0, 1.0]))
    chance_N = np.exp(lists.log_chances(np.log([2.0, 5.0, 1.0])))
    # Place 1 holds the third row: 1 of 1 + 2 + 5; then 2 of 2 + 5; then what is left.
    assert chance_N == pytest.approx([2 / 7, 1.0, 1 / 8])
    # What could stand there: (1 x 30 + 2 x 10 + 5 x 20) / 8, (2 x 10 + 5 x 20) / 7, 20.
    mean_N = lists.expected(np.log(chance_N), np.array([10.0, 20.0, 30.0]))
    assert mean_N == pytest.approx([120 / 7, 20.0, 150 / 8])


def test_the_chances_of_all_orders_add_up_to_one() -> None:
    lists, utility_N = _every_order(NEW)
    chance_R4 = np.exp(lists.log_chances(utility_N)).reshape(-1, 4)
    by_hand_R4 = [_by_hand(NEW, order) for order in ORDERS]
    np.testing.assert_allclose(chance_R4, by_hand_R4, rtol=1e-12)
    assert chance_R4.prod(axis=1).sum() == pytest.approx(1.0, abs=1e-12)


def test_without_noise_the_best_of_what_is_left_is_certain_and_ties_are_even() -> None:
    score_N = np.array([5.0, 1.0, 5.0, 3.0])[ORDERS.ravel()]
    lists, _ = _every_order(NEW)
    log_chance_N = lists.log_chances(PlackettLuce().utilities(lists, score_N))
    whole_R = np.exp(log_chance_N.reshape(-1, 4).sum(axis=1))
    best = {(0, 2, 3, 1), (2, 0, 3, 1)}
    np.testing.assert_allclose(whole_R, [0.5 * (tuple(order) in best) for order in ORDERS])


def test_utilities_are_in_deviations_within_lists() -> None:
    request_N = np.array([0, 0, 0, 1, 1])
    lists = Lists.of(request_N, np.array([1.0, 2.0, 3.0, 2.0, 1.0]))
    score_N = np.array([1.0, 2.0, 3.0, 100.0, 104.0])
    deviation = math.sqrt((1 + 0 + 1 + 4 + 4) / 3)
    assert lists.deviation(score_N) == pytest.approx(deviation)
    found_N = PlackettLuce(temperature=0.5).utilities(lists, score_N)
    np.testing.assert_allclose(found_N, score_N / (0.5 * deviation))
    even_N = lists.log_chances(PlackettLuce(temperature=0.5).utilities(lists, np.full(5, 3.0)))
    np.testing.assert_allclose(np.exp(even_N), [1 / 3, 1 / 2, 1, 1, 1 / 2])
    assert np.isfinite(lists.deviation(score_N * 1e300))


def _importances(lists: Lists, score_N: Floats, temperature: float) -> Floats:
    return lists.log_chances(PlackettLuce(temperature=temperature).utilities(lists, score_N))


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    seed=st.integers(0, 10_000),
    temperature=st.sampled_from([0.0, 0.3, 2.0]),
)
@settings(max_examples=40, deadline=None)
def test_lists_of_any_lengths_in_any_order_of_rows(
    sizes: list[int], seed: int, temperature: float
) -> None:
    rng = np.random.default_rng(seed)
    request_N = np.repeat(rng.permutation(len(sizes)) - 3, sizes)
    place_N = np.concatenate([rng.permutation(size) + 1.0 for size in sizes])
    score_N = rng.integers(0, 6, len(place_N)).astype(np.float64)
    lists = Lists.of(request_N, place_N)
    log_chance_N = _importances(lists, score_N, temperature)
    value_N = rng.normal(size=len(place_N))
    mean_N, total_N = lists.expected(log_chance_N, value_N), lists.summed(value_N)
    # The unit and the level of a list's scores do not matter.
    level_N = rng.normal(size=100)[request_N]
    again_N = _importances(lists, 7 * score_N + np.round(level_N), temperature)
    np.testing.assert_allclose(again_N, log_chance_N, rtol=1e-9, atol=1e-9)
    utility_N = PlackettLuce(temperature=temperature).utilities(lists, score_N)
    for row in range(len(place_N)):
        left_N = (request_N == request_N[row]) & (place_N >= place_N[row])
        power_N = np.exp(utility_N[left_N] - utility_N[left_N].max())
        chance_N = power_N / power_N.sum()
        own = float(np.exp(utility_N[row] - utility_N[left_N].max()) / power_N.sum())
        assert np.exp(log_chance_N[row]) == pytest.approx(own, abs=1e-12)
        assert mean_N[row] == pytest.approx(float(chance_N @ value_N[left_N]), abs=1e-9)
        above_N = (request_N == request_N[row]) & (place_N <= place_N[row])
        assert total_N[row] == pytest.approx(value_N[above_N].sum(), abs=1e-12)


def test_which_lists_are_whole() -> None:
    request_N = np.array([1, 1, 2, 2, 3, 3, 4, 5, 6, 6])
    place_N = np.array([2.0, 1.0, 1.0, 3.0, 1.0, 1.0, 2.0, 1.0, np.nan, 1.0])
    whole_N = is_whole(request_N, place_N)
    assert whole_N.tolist() == [True, True, *[False] * 5, True, False, False]
    with pytest.raises(DataError, match="4 of 6 lists do not have each place from 1"):
        Lists.of(request_N, place_N)
    assert len(is_whole(request_N[:0], place_N[:0])) == 0


# What is estimated, against the sum over every order that could have been logged.


def _reward(order: NDArray[np.int64], below: float = 0.0) -> Floats:
    """Of each place: by its item, its place, what stands above it, and the item just below."""
    quality = np.array([1.0, 0.3, 0.7, -0.5])[order]
    seen = np.append(0.0, quality.cumsum()[:-1])
    following = np.append(quality[1:], 0.0)
    return np.asarray(quality * [1.0, 0.7, 0.4, 0.3] - 0.2 * seen + below * following)


MODEL = np.array([0.2, 5.0, -3.0, 0.1])


def _log(places: int, over: str = "prefix", *, below: float = 0.0, model: bool = False) -> Logged:
    """Every order once, weighing its chance of being logged."""
    chance_R4 = np.array([_by_hand(LOGGING, order) for order in ORDERS])
    ranked = RankedLog(
        request_N=np.repeat(np.arange(24), 4),
        place_N=np.tile(np.arange(1.0, 5.0), 24),
        propensity_N=chance_R4.ravel(),
        reward_N=np.concatenate([_reward(order, below) for order in ORDERS]),
        places=places,
        over=over,  # type: ignore[arg-type]
        weight_N=np.repeat(chance_R4.prod(axis=1), 4),
        model_N=MODEL[ORDERS.ravel()] if model else None,
    )
    return ranked.under(NEW[ORDERS.ravel()], PlackettLuce(temperature=1 / NEW.std(ddof=1)))


def _truth(places: int, below: float = 0.0) -> float:
    chance_R = [math.prod(_by_hand(NEW, order)) for order in ORDERS]
    mean_R = [_reward(order, below)[:places].mean() for order in ORDERS]
    return float(np.dot(chance_R, mean_R))


@pytest.mark.parametrize("places", [1, 2, 4])
def test_over_all_logs_the_estimates_are_the_truth(places: int) -> None:
    """The mean over every log is the sum over orders: no noise is left, only bias."""
    logged = _log(places, model=True)
    assert logged.model_N is not None
    assert logged.model_target_N is not None
    weight_N = logged.weights_N / logged.weights_N.sum()
    assert weight_N @ logged.importance_N == pytest.approx(1.0, abs=1e-12)
    ips = weight_N @ (logged.importance_N * logged.reward_N)
    assert ips == pytest.approx(_truth(places), abs=1e-12)
    residual_N = logged.reward_N - logged.model_N
    robust = weight_N @ (logged.model_target_N + logged.importance_N * residual_N)
    assert robust == pytest.approx(_truth(places), abs=1e-12)
    if places < 4:  # of what stands below the importance of a place knows nothing
        blind = _log(places, below=0.5)
        found = weight_N @ (blind.importance_N * blind.reward_N)
        assert abs(found - _truth(places, 0.5)) > 0.01


def test_a_place_alone_is_one_change_below_what_was_logged() -> None:
    logged = _log(4, "place", model=True)
    weight_N = logged.weights_N / logged.weights_N.sum()
    truth = 0.0
    for place in range(4):
        for order in ORDERS:  # as logged above, by the new policy here and below
            chances = [*_by_hand(LOGGING, order)[:place], *_by_hand(NEW, order)[place:]]
            truth += math.prod(chances) * _reward(order)[place] / 4
    assert weight_N @ (logged.importance_N * logged.reward_N) == pytest.approx(truth, abs=1e-12)
    assert logged.model_N is not None
    assert logged.model_target_N is not None
    residual_N = logged.reward_N - logged.model_N
    robust = weight_N @ (logged.model_target_N + logged.importance_N * residual_N)
    assert robust == pytest.approx(truth, abs=1e-12)
    assert abs(truth - _truth(4)) > 0.001


def _drawn(num_lists: int = 300, length: int = 3) -> dict[str, Floats]:
    rng = np.random.default_rng(3)
    score_RK = rng.normal(size=(num_lists, length))
    order_RK = np.argsort(-score_RK - rng.gumbel(size=score_RK.shape), axis=1)
    ranked_RK = np.take_along_axis(score_RK, order_RK, axis=1)
    power_RK = np.exp(ranked_RK)
    left_RK = power_RK[:, ::-1].cumsum(axis=1)[:, ::-1]
    return {
        "request_N": np.repeat(np.arange(num_lists), length),
        "place_N": np.tile(np.arange(1.0, length + 1), num_lists),
        "propensity_N": (power_RK / left_RK).ravel(),
        "reward_N": (rng.random((num_lists, length)) < 0.4).astype(np.float64).ravel(),
        "score_N": ranked_RK.ravel(),
    }


def test_the_policy_that_logged_has_importances_of_one_and_the_logged_mean() -> None:
    columns = _drawn()
    score_N = columns.pop("score_N")
    ranked = RankedLog(**columns, places=2)  # type: ignore[arg-type]
    same = ranked.under(score_N, PlackettLuce(temperature=1 / ranked.lists.deviation(score_N)))
    np.testing.assert_allclose(same.importance_N, 1.0, rtol=1e-12)
    logged = ranked.as_logged()
    assert (logged.importance_N == 1.0).all()
    mean = columns["reward_N"][columns["place_N"] <= 2].mean()
    assert IPS().estimate(logged).value == pytest.approx(mean, rel=1e-12)
    exact = PlackettLuce(temperature=1 / ranked.lists.deviation(score_N))
    chance_N = np.exp(ranked.lists.log_chances(exact.utilities(ranked.lists, score_N)))
    assert np.abs(np.log(chance_N) - np.log(columns["propensity_N"])).max() < 1e-12


def test_an_importance_beyond_float64_is_kept_apart_and_refused() -> None:
    """A list of 400 places at odds of 1 in 400 each."""
    rng = np.random.default_rng(0)
    columns = {
        "request_N": np.repeat(np.arange(200), 400),
        "place_N": np.tile(np.arange(1.0, 401.0), 200),
        "propensity_N": np.tile(np.append(np.full(399, 1e-5), 1.0), 200),
        "reward_N": rng.random(80_000),
    }
    ranked = RankedLog(**columns, places=400)  # type: ignore[arg-type]
    logged = ranked.under(rng.random(80_000), PlackettLuce(temperature=1.0))
    assert np.isfinite(logged.importance_N).all()
    with pytest.raises(DataError, match=r"importances of place \d+ rest on"):
        IPS().estimate(logged)


def test_what_no_ranked_log_can_be() -> None:
    columns = _drawn(4)
    score_N = columns.pop("score_N")

    def ranked(**changed: object) -> RankedLog:
        return RankedLog(**(columns | changed))  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match="`places` must be at least 1, got 0"):
        ranked(places=0)
    with pytest.raises(DataError, match=r"`reward_N` has shape \(3,\), but there are 12 rows"):
        ranked(reward_N=np.zeros(3))
    for wrong in (0.0, np.nan, 1.5):
        propensity_N = np.array([wrong, *columns["propensity_N"][1:]])
        with pytest.raises(DataError, match=r"above 0 and at most 1, got \S+ in 1 of 12 rows"):
            ranked(propensity_N=propensity_N)
    with pytest.raises(DataError, match="1 of 4 lists do not have each place"):
        ranked(place_N=np.array([3.0, *columns["place_N"][1:]]))
    with pytest.raises(DataError, match="1 of 12 rows have no finite score"):
        ranked().under(np.array([np.nan, *score_N[1:]]), PlackettLuce())
    unknown_N = np.where(columns["place_N"] == 3, np.nan, columns["reward_N"])
    assert len(ranked(reward_N=unknown_N, places=2).as_logged()) == 8
    with pytest.raises(DataError, match="`reward_N` must be a number, got nan in 4 of 12"):
        ranked(reward_N=unknown_N, places=3).as_logged()
    with pytest.raises(ConfigError, match="temperature"):
        PlackettLuce(temperature=-1.0)
