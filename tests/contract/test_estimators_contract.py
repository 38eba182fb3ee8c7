"""The laws of every registered off-policy estimator."""

from __future__ import annotations

import json
import math
from dataclasses import astuple
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from polyrank.errors import ConfigError, DataError
from polyrank.fusion.off_policy import ESTIMATORS, AnyEstimator, Estimator, Logged
from polyrank.schema import parse
from tests.fusion.off_policy.world import World, world

CASES: dict[str, dict[str, Any]] = {
    "clipped_ips": {"cap": 2.0},
    "dr": {},
    "ips": {},
    "snips": {"confidence": 0.9},
}
WORLD = world()
COLUMNS = ("reward_N", "propensity_N", "target_N", "weight_N", "cluster_N")
MODELS = ("model_N", "model_target_N")


@pytest.fixture(params=sorted(CASES))
def estimator(request: pytest.FixtureRequest) -> Estimator:
    return parse(ESTIMATORS[request.param], {"kind": request.param, **CASES[request.param]})


def _columns(seed: int = 0, whole: World = WORLD) -> dict[str, Any]:
    logged = whole.log(400, seed, error=0.1)
    weight_N = np.random.default_rng(seed).integers(1, 4, len(logged)).astype(np.float64)
    columns = {name: getattr(logged, name) for name in (*COLUMNS, *MODELS)}
    return columns | {"weight_N": weight_N}


def _numbers(estimator: Estimator, columns: dict[str, Any]) -> list[float]:
    found = estimator.estimate(Logged(**columns))
    return [found.value, found.lower, found.upper, found.effective_rows, found.clipped_share]


def test_every_estimator_is_under_contract() -> None:
    assert set(CASES) == set(ESTIMATORS)
    assert set(get_args(get_args(AnyEstimator)[0])) == set(ESTIMATORS.values())
    for kind, cls in ESTIMATORS.items():
        assert cls.model_fields["kind"].default == kind


def test_the_configuration_survives_a_round_trip(estimator: Estimator) -> None:
    tree = json.loads(json.dumps(estimator.model_dump(mode="json")))
    adapter: TypeAdapter[Estimator] = TypeAdapter(AnyEstimator)
    assert parse(type(estimator), tree) == estimator == adapter.validate_python(tree)


def test_an_estimate_says_what_it_is_of(estimator: Estimator) -> None:
    found = estimator.estimate(Logged(**_columns()))
    assert found.method == estimator.kind
    assert found.rows == 2000
    assert 100 < found.effective_rows < 2000
    assert found.lower < found.value < found.upper
    assert np.isfinite([number for number in astuple(found) if not isinstance(number, str)]).all()


def test_the_order_of_rows_does_not_matter(estimator: Estimator) -> None:
    columns = _columns()
    order_N = np.random.default_rng(1).permutation(2000)
    moved = {name: column_N[order_N] for name, column_N in columns.items()}
    assert _numbers(estimator, moved) == pytest.approx(_numbers(estimator, columns), rel=1e-9)


def test_the_names_of_clusters_do_not_matter(estimator: Estimator) -> None:
    columns = _columns()
    user_N = columns["cluster_N"]
    expected = pytest.approx(_numbers(estimator, columns), rel=1e-9)
    for other_N in (
        user_N * -7 + 2**60,
        np.array([f"user {user}" for user in user_N]),
        np.array([f"user {user}" for user in user_N], dtype=object),
        user_N.astype(object),
    ):
        assert _numbers(estimator, columns | {"cluster_N": other_N}) == expected


def test_rows_of_weight_zero_change_no_bit(estimator: Estimator) -> None:
    columns = _columns()
    nothing = {name: np.full(3, np.nan) for name in columns}
    nothing |= {"weight_N": np.zeros(3), "cluster_N": np.array([-1, 0, 99_999])}
    padded = {
        name: np.concatenate([nothing[name][:2], columns[name], nothing[name][2:]])
        for name in columns
    }
    assert _numbers(estimator, padded) == _numbers(estimator, columns)


def test_a_row_of_weight_two_is_two_rows_of_its_cluster(estimator: Estimator) -> None:
    columns = _columns()
    times_N = columns.pop("weight_N").astype(int)
    repeated = {name: np.repeat(column_N, times_N) for name, column_N in columns.items()}
    found = _numbers(estimator, columns | {"weight_N": times_N})
    expected = _numbers(estimator, repeated)
    assert found[:3] == pytest.approx(expected[:3], rel=1e-9)
    assert found[4] == pytest.approx(expected[4])


def test_the_scale_of_weights_does_not_matter(estimator: Estimator) -> None:
    columns = _columns()
    scaled = columns | {"weight_N": columns["weight_N"] * 1e-9}
    assert _numbers(estimator, scaled) == pytest.approx(_numbers(estimator, columns), rel=1e-9)


def test_every_row_its_own_cluster_is_no_cluster(estimator: Estimator) -> None:
    columns = _columns() | {"cluster_N": np.arange(2000)[::-1]}
    alone = columns | {"cluster_N": None}
    assert _numbers(estimator, columns) == pytest.approx(_numbers(estimator, alone), rel=1e-9)


@given(unit=st.floats(1e-6, 1e6))
@settings(max_examples=20)
@pytest.mark.parametrize("kind", sorted(CASES))
def test_the_unit_of_the_reward_is_the_unit_of_the_estimate(kind: str, unit: float) -> None:
    estimator = parse(ESTIMATORS[kind], {"kind": kind, **CASES[kind]})
    columns = _columns()
    scaled = columns | {name: columns[name] * unit for name in ("reward_N", *MODELS)}
    expected = [number * unit for number in _numbers(estimator, columns)[:3]]
    assert _numbers(estimator, scaled)[:3] == pytest.approx(expected, rel=1e-9)


def test_densities_need_no_unit(estimator: Estimator) -> None:
    columns = _columns()
    scaled = columns | {name: columns[name] * 50 for name in ("propensity_N", "target_N")}
    found = _numbers(estimator, scaled | {"densities": True})
    assert found == pytest.approx(_numbers(estimator, columns), rel=1e-9)


def test_arrays_are_only_read(estimator: Estimator) -> None:
    columns = _columns()
    for column_N in columns.values():
        column_N.flags.writeable = False
    _numbers(estimator, columns)
    for name, column_N in _columns().items():
        np.testing.assert_array_equal(columns[name], column_N)


def test_too_few_rows_are_refused(estimator: Estimator) -> None:
    few = {name: column_N[:300] for name, column_N in _columns().items()}
    with pytest.raises(DataError, match=r"rest on \d+\.\d effective rows or clusters, fewer than"):
        estimator.estimate(Logged(**few))


def test_a_policy_outside_of_the_log_is_refused(estimator: Estimator) -> None:
    columns = _columns()
    columns["target_N"] = columns["target_N"] * 0.6
    with pytest.raises(DataError, match="lies partly outside of the log"):
        estimator.estimate(Logged(**columns))


def _pair() -> tuple[Logged, Logged]:
    """Two policies on the same rows: the new one and one halfway to what was logged."""
    columns = _columns()
    halfway_N = (columns["target_N"] + columns["propensity_N"]) / 2
    return Logged(**columns), Logged(**columns | {"target_N": halfway_N})


def test_a_difference_is_that_of_the_estimates_and_turns_its_sign(estimator: Estimator) -> None:
    new, old = _pair()
    found, turned = estimator.difference(new, old), estimator.difference(old, new)
    apart = estimator.estimate(new).value - estimator.estimate(old).value
    assert found.value == pytest.approx(apart, rel=1e-12)
    assert (turned.value, turned.lower, turned.upper) == pytest.approx(
        (-found.value, -found.upper, -found.lower), rel=1e-9
    )
    assert found.lower < found.value < found.upper


def test_a_policy_differs_from_itself_by_nothing(estimator: Estimator) -> None:
    new, _ = _pair()
    found = estimator.difference(new, new)
    assert (found.value, found.reason) == (0.0, None)
    if estimator.kind != "clipped_ips":  # which does not know what the rows it cut earned
        assert (found.lower, found.upper) == (0.0, 0.0)
    assert found.lower <= 0 <= found.upper


def test_what_was_logged_is_a_policy_of_importances_of_one(estimator: Estimator) -> None:
    columns = _columns()
    new = Logged(**columns)
    mean_N = np.average(columns["reward_N"], weights=columns["weight_N"])
    found = estimator.difference(new)
    assert found.value == pytest.approx(estimator.estimate(new).value - mean_N, rel=1e-9)
    assert estimator.logged_mean(new).value == pytest.approx(mean_N, rel=1e-12)
    ones = columns | {"target_N": columns["propensity_N"], "model_N": 0 * columns["model_N"]}
    own = Logged(**ones | {"model_target_N": ones["model_N"]})
    if estimator.kind == "clipped_ips":
        return
    beside = estimator.difference(new, own)
    assert (found.lower, found.upper) == pytest.approx((beside.lower, beside.upper), rel=1e-9)
    logged = estimator.logged_mean(new)
    told = estimator.estimate(own)
    assert (logged.lower, logged.upper) == pytest.approx((told.lower, told.upper), rel=1e-9)


@pytest.mark.parametrize("kind", sorted(CASES.keys() - {"clipped_ips"}))
def test_paired_intervals_agree_with_a_bootstrap_over_users(kind: str) -> None:
    """But of one whose interval covers a bias, which no resampling shows."""
    estimator = parse(ESTIMATORS[kind], {"kind": kind, **CASES[kind]})
    new, old = _pair()
    columns = _columns()
    rows_C = [np.flatnonzero(columns["cluster_N"] == user) for user in range(400)]
    rng = np.random.default_rng(5)
    drawn = []
    for _ in range(300):
        row_N = np.concatenate([rows_C[user] for user in rng.integers(0, 400, 400)])
        pair = [
            Logged(
                one.reward_N[row_N],
                one.propensity_N[row_N],
                one.target_N[row_N],
                one.weights_N[row_N],
                model_N=None if one.model_N is None else one.model_N[row_N],
                model_target_N=None if one.model_target_N is None else one.model_target_N[row_N],
            )
            for one in (new, old)
        ]
        drawn.append(estimator.difference(*pair).value)
    found = estimator.difference(new, old)
    reach = {0.9: 1.6448536269514722, 0.95: 1.959963984540054}[estimator.confidence]
    assert (found.upper - found.lower) / (2 * reach) == pytest.approx(np.std(drawn), rel=0.12)


def test_a_difference_on_few_rows_has_no_interval(estimator: Estimator) -> None:
    columns = _columns()
    target_N = columns["target_N"].copy()
    target_N[:30] = columns["propensity_N"][:30] / 2
    found = estimator.difference(Logged(**columns), Logged(**columns | {"target_N": target_N}))
    assert math.isnan(found.lower)
    assert math.isnan(found.upper)
    assert found.value != 0
    assert found.reason is not None
    assert "differ in reward on" in found.reason


def test_policies_on_different_rows_have_no_difference(estimator: Estimator) -> None:
    columns = _columns()
    other = columns | {"reward_N": columns["reward_N"][::-1]}
    with pytest.raises(ConfigError, match="on different rows"):
        estimator.difference(Logged(**columns), Logged(**other))


def test_one_place_is_no_place(estimator: Estimator) -> None:
    columns = _columns()
    placed = columns | {"place_N": np.ones(2000, dtype=np.int64)}
    assert _numbers(estimator, placed) == pytest.approx(_numbers(estimator, columns), rel=1e-9)


def test_each_place_has_to_pass_by_itself(estimator: Estimator) -> None:
    columns = _columns()
    rare_N = np.arange(2000) % 20 == 0
    placed = columns | {"place_N": np.where(rare_N, 2, 1)}
    with pytest.raises(DataError, match=r"importances of place 2 rest on \d+\.\d effective"):
        estimator.estimate(Logged(**placed))
    half_N = np.arange(2000) % 2 == 0
    target_N = np.where(half_N, 0.6, 1.0) * columns["target_N"]
    placed = columns | {"place_N": np.where(half_N, 2, 1), "target_N": target_N}
    with pytest.raises(DataError, match="outside of the log: importances of place 2 average 0"):
        estimator.estimate(Logged(**placed))
