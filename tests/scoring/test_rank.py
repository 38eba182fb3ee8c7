"""Putting candidates in order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from polyrank.data import Layout, TargetStats
from polyrank.errors import ConfigError
from polyrank.schema import Binary, Categorical, Duration, Regression, Schema
from polyrank.scoring import PREFIX, SCORE, Scorer
from polyrank.scoring.order import default_weights, score
from tests import feeds

SCHEMA = Schema(
    features=(Categorical(name="item"),),
    tasks=(
        Binary(name="click"),
        Binary(name="buy", within="click"),
        Binary(name="report", sign="bad"),
        Duration(name="watch", unit="ms"),
        Regression(name="price"),
    ),
)
PREDICTIONS = {
    "click": np.array([0.5, 0.1]),
    "buy": np.array([0.2, 0.9]),
    "report": np.array([0.01, 0.5]),
    "watch": np.array([1000.0, 10.0]),
    "price": np.array([3.0, 4.0]),
}


def test_a_task_within_another_counts_with_the_probability_of_its_space() -> None:
    value = score(SCHEMA, PREDICTIONS, {"click": 1.0, "buy": 10.0, "report": -2.0})
    assert value == pytest.approx([0.5 + 10 * 0.1 - 0.02, 0.1 + 10 * 0.09 - 1.0])


def test_equal_weights_by_hand() -> None:
    stats = {
        "click": TargetStats(mean=0.25, std=1, count=9),
        "buy": TargetStats(mean=0.5, std=1, count=9),
        "report": TargetStats(mean=0.01, std=1, count=9),
        "watch": TargetStats(mean=np.log(3.0), std=1, count=9),
        "price": TargetStats(mean=-7.0, std=4, count=9),
    }
    layout = Layout(ids=(), numerics=(), ragged=(), vectors=(), tasks=(), num_rows=0, targets=stats)
    weights = default_weights(SCHEMA, layout)
    by_hand = {"click": 4.0, "buy": 8.0, "report": -100.0, "watch": 1 / 2000, "price": 65**-0.5}
    assert weights == pytest.approx(by_hand)
    # One click in four of a log that kept every third negative: one in ten of all.
    thinned = (Binary(name="click", keep_rate=1 / 3), *SCHEMA.tasks[1:])
    weights = default_weights(SCHEMA.model_copy(update={"tasks": thinned}), layout)
    assert weights == pytest.approx({**by_hand, "click": 10.0, "buy": 20.0})


def test_by_the_default_weights_every_task_gives_a_perfect_model_as_much() -> None:
    schema, layout = feeds.bundle().schema, feeds.bundle().encoders.layout
    weights = default_weights(schema, layout)
    labels = {
        task.name: np.nan_to_num(feeds.log()[task.label].to_numpy(zero_copy_only=False) * 1.0)
        for task in schema.tasks
    }
    given = {name: score(schema, labels, {name: weight}) for name, weight in weights.items()}
    for task in schema.tasks:
        if task.kind == "binary":
            sign = -1 if task.sign == "bad" else 1
            assert given[task.name].mean() == pytest.approx(sign, rel=1e-6), task.name
    times = feeds.log()["watch_time_s"].to_numpy(zero_copy_only=False)[labels["click"] == 1]
    typical = np.expm1(np.log1p(times).mean())
    assert given["watch_time"].mean() == pytest.approx(times.mean() / typical, rel=1e-6)


def test_a_task_never_positive_weighs_nothing() -> None:
    zero = TargetStats(mean=0.0, std=1.0, count=9)
    layout = Layout(
        ids=(),
        numerics=(),
        ragged=(),
        vectors=(),
        tasks=(),
        num_rows=0,
        targets=dict.fromkeys(SCHEMA.task_names, zero),
    )
    assert default_weights(SCHEMA, layout)["report"] == 0.0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"clik": 1.0}, "weighs 'clik', which is no task. Did you mean 'click'"),
        ({"click": float("nan")}, "finite"),
        ({"click": 0.0}, "every weight"),
        ({}, "every weight"),
    ],
)
def test_weights_that_rank_nothing_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        score(SCHEMA, PREDICTIONS, weights)


def test_candidates_come_best_first_and_ties_in_the_given_order() -> None:
    scorer = Scorer(feeds.bundle())
    candidates = feeds.log().slice(0, 20)
    ranked = scorer.rank(candidates, {"click": 1.0})
    assert ranked[SCORE].to_pylist() == sorted(ranked[SCORE].to_pylist(), reverse=True)
    assert ranked[SCORE].equals(ranked[PREFIX + "click"])
    twice = pa.concat_tables([candidates.slice(0, 1)] * 3).append_column(
        "place", pa.array([0, 1, 2])
    )
    assert scorer.rank(twice, {"click": 1.0}, keep=["place"])["place"].to_pylist() == [0, 1, 2]


def test_permuting_candidates_permutes_nothing_in_the_ranking() -> None:
    scorer = Scorer(feeds.bundle())
    candidates = feeds.log().slice(0, 40)
    order = np.random.default_rng(3).permutation(40)
    one = scorer.rank(candidates)
    other = scorer.rank(candidates.take(pa.array(order)))
    assert one[SCORE].equals(other[SCORE])
