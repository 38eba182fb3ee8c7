"""The ready-made experiment: what its parts are made of."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from polyrank.bundle import Bundle
from polyrank.scoring import PREFIX, Order, Scorer
from polyrank.scoring.order import expected
from polyrank.simulation import Feed, observed
from polyrank.simulation.experiment import (
    ARMS,
    BundlePolicy,
    ExperimentConfig,
    choosing,
    observed_log,
    ready_arms,
)
from polyrank.simulation.experiment.choosing import tuned_order
from polyrank.simulation.world import World


@pytest.fixture(scope="module")
def validation(world: World) -> pa.Table:
    return observed_log(Feed(world.config), 9_000)[1]


def test_the_log_has_no_truth_and_its_last_day_apart(world: World) -> None:
    train, last = observed_log(Feed(world.config), 9_000)
    whole = observed(pa.concat_tables(Feed(world.config).tables(9_000)))
    assert pa.concat_tables([train, last]).equals(whole)
    day = pc.floor_temporal(pc.cast(whole["time_ms"], pa.timestamp("ms")), unit="day")
    assert last.num_rows == pc.sum(pc.equal(day, pc.max(day))).as_py()
    assert not any(name.startswith("truth") for name in train.column_names)


def brought(table: pa.Table, scorer: Scorer, order: Order) -> dict[str, float]:
    """What stands in the first three places of each request, row by row."""
    predicted = scorer.score(table)
    tasks = {task: predicted[PREFIX + task].to_numpy() for task in scorer.bundle.schema.task_names}
    model = order.model
    weights = dict(order.weights) if model is None else model.tunable
    value = expected(scorer.bundle.schema, tasks)
    score_N = sum(weight * value[task] for task, weight in weights.items())
    lists: dict[int, list[tuple[float, int]]] = {}
    for row, request in enumerate(table["request_id"].to_pylist()):
        lists.setdefault(request, []).append((-float(np.asarray(score_N)[row]), row))
    rows = [row for found in lists.values() for _, row in sorted(found)[:3]]
    first = table.take(rows)
    labels = {"watch_time": "watch_time_s"}
    return {
        task: pc.sum(pc.cast(first[labels.get(task, task)], pa.float64())).as_py() or 0.0
        for task in weights
    }


def test_tuned_weights_hold_the_guardrails_and_bring_more(
    bundle: Bundle, validation: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer(bundle)
    equal = brought(validation, scorer, Order.of(bundle))
    found = tuned_order(scorer, validation, seed=1, trials=300)
    tuned = brought(validation, scorer, found)
    assert tuned["click"] >= 0.95 * equal["click"]
    assert tuned["watch_time"] >= 0.95 * equal["watch_time"]
    assert tuned["purchase"] >= 0.97 * equal["purchase"]
    assert tuned["report"] <= equal["report"]
    gains = [tuned[task] / equal[task] for task in ("long_view", "like")]
    assert sum(gains) > 2.05
    again = tuned_order(scorer, validation, seed=1, trials=300)
    assert again.model == found.model
    assert tuned["click"] < 1.1 * equal["click"]
    monkeypatch.setitem(choosing.AT_LEAST, "click", 1.1)
    clicked = brought(validation, scorer, tuned_order(scorer, validation, seed=1, trials=300))
    assert 1.1 * equal["click"] <= clicked["click"]


def test_without_anything_wanted_the_order_stays(bundle: Bundle, validation: pa.Table) -> None:
    zeros = pa.array(np.zeros(validation.num_rows, np.int8))
    nothing = validation
    for name in ("like", "long_view"):
        place = validation.column_names.index(name)
        column = pc.if_else(pc.is_null(validation[name]), validation[name], zeros)
        nothing = nothing.set_column(place, name, column)
    assert tuned_order(Scorer(bundle), nothing, seed=0, trials=50) == Order.of(bundle)


def test_where_nothing_holds_the_guardrails_the_order_stays(
    bundle: Bundle, validation: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(choosing.AT_LEAST, "click", 100.0)
    assert tuned_order(Scorer(bundle), validation, seed=0, trials=50) == Order.of(bundle)


def test_the_arms_are_those_of_the_documentation(bundle: Bundle, validation: pa.Table) -> None:
    arms = ready_arms(bundle, validation, ExperimentConfig(), seed=0)
    assert tuple(arms) == ARMS
    scorers = {policy.scorer for policy in arms.values() if isinstance(policy, BundlePolicy)}
    assert len(scorers) == 1
