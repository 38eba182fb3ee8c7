"""Evaluating a bundle on a log."""

from __future__ import annotations

import dataclasses
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest

from polyrank.config import EvaluationConfig
from polyrank.data import Reader, open_log
from polyrank.errors import ConfigError
from polyrank.evaluation import auc, log_loss, mae, ratio
from polyrank.schema import Binary
from polyrank.scoring import (
    PREFIX,
    Scorer,
    compare_scorers,
    evaluate_log,
    evaluate_rows,
)
from tests import feeds


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(feeds.bundle())


def test_metrics_are_those_of_the_scores_in_the_tasks_own_space(scorer: Scorer) -> None:
    result = evaluate_log(scorer, feeds.log(), EvaluationConfig(resamples=0))
    scored = scorer.score(feeds.log())
    clicked = feeds.log()["click"].to_numpy() == 1
    for task, metric, name in (("purchase", auc, "auc"), ("long_view", log_loss, "log_loss")):
        label = feeds.log()[task].to_numpy(zero_copy_only=False)[clicked]
        expected = metric(label, scored[PREFIX + task].to_numpy()[clicked]).value
        assert result.value(task, name) == pytest.approx(expected, rel=1e-9)
    watched = feeds.log()["watch_time_s"].to_numpy(zero_copy_only=False)[clicked].astype(float)
    expected = mae(watched, scored[PREFIX + "watch_time"].to_numpy()[clicked]).value
    assert result.value("watch_time", "mae") == pytest.approx(expected, rel=1e-6)
    assert result.mode == "exact"


def test_slices_and_chosen_metrics(scorer: Scorer) -> None:
    config = EvaluationConfig(metrics=("auc", "mae"), slices=("surface",), resamples=0)
    result = evaluate_log(scorer, feeds.log(), config)
    assert {row.metric for row in result.rows} == {"auc", "mae"}
    surfaces = set(feeds.log()["surface"].to_pylist())
    assert {row.slice for row in result.rows} == {None} | {f"surface={s}" for s in surfaces}


def test_slices_by_large_ids_keep_each_id_where_some_are_null(scorer: Scorer) -> None:
    ids: list[int | None] = [2**60 + place % 4 for place in range(feeds.log().num_rows)]
    ids[-1] = None
    log = feeds.log().append_column("advertiser", pa.array(ids, pa.int64()))
    reader = Reader(open_log(log, chunk_rows=500), scorer.bundle.schema, extra=["advertiser"])
    config = EvaluationConfig(metrics=("ratio", "mae"), slices=("advertiser",), resamples=0)
    result = evaluate_rows(scorer, reader.chunks("all"), config)
    rows = {row.slice: row.rows for row in result.rows if row.task == "click" and row.slice}
    quarter = log.num_rows // 4
    assert rows == {
        **{f"advertiser={2**60 + code}": quarter for code in range(3)},
        f"advertiser={2**60 + 3}": quarter - 1,
        "advertiser=null": 1,
    }


def test_an_unknown_metric_is_refused(scorer: Scorer) -> None:
    with pytest.raises(ConfigError, match="auk"):
        evaluate_log(scorer, feeds.log(), EvaluationConfig(metrics=("auk",), resamples=0))


def test_long_logs_are_streamed_and_say_so(scorer: Scorer) -> None:
    exact = evaluate_log(scorer, feeds.log(), EvaluationConfig(resamples=0))
    reader = Reader(open_log(feeds.log(), chunk_rows=500), scorer.bundle.schema)
    streamed = evaluate_rows(scorer, reader.chunks("all"), EvaluationConfig(exact_rows=1200))
    assert streamed.mode == "streamed"
    for task in ("click", "purchase"):
        assert streamed.value(task, "log_loss") == pytest.approx(exact.value(task, "log_loss"))
        assert streamed.value(task, "auc") == pytest.approx(exact.value(task, "auc"), abs=2e-3)
    assert streamed.row("click", "gauc").reason is not None
    sliced = Reader(open_log(feeds.log()), scorer.bundle.schema, extra=["surface"])
    with pytest.raises(ConfigError, match="slices need all rows"):
        evaluate_rows(
            scorer, sliced.chunks("all"), EvaluationConfig(slices=("surface",), exact_rows=1)
        )


def test_negatives_of_a_thinned_log_weigh_as_many_as_were_dropped_in_every_verb(
    scorer: Scorer,
) -> None:
    """Weight 1 / r on kept negatives equals each kept negative repeated 1 / r times."""
    tasks = (Binary(name="click", keep_rate=0.25), *scorer.bundle.schema.tasks[1:])
    schema = scorer.bundle.schema.model_copy(update={"tasks": tasks})
    thinned = Scorer(dataclasses.replace(scorer.bundle, schema=schema))
    config = EvaluationConfig(metrics=("log_loss", "ratio", "mae"), resamples=0)
    found = evaluate_log(thinned, feeds.log(), config)
    reader = Reader(open_log(feeds.log()), schema)
    small = config.model_copy(update={"exact_rows": 1})
    streamed = evaluate_rows(thinned, reader.chunks("all"), small)
    compared = compare_scorers(thinned, thinned, feeds.log(), metrics=["log_loss", "ratio"])
    label = feeds.log()["click"].to_numpy().astype(float)
    repeats = np.where(label == 0, 4, 1)
    predicted = scorer.score(feeds.log())[PREFIX + "click"].to_numpy()
    for metric in (log_loss, ratio):
        expected = metric(np.repeat(label, repeats), np.repeat(predicted, repeats)).value
        assert found.value("click", metric.name) == pytest.approx(expected)
        assert streamed.value("click", metric.name) == pytest.approx(expected)
        assert compared.row("click", metric.name).a == pytest.approx(expected)
    plain = evaluate_log(scorer, feeds.log(), config)
    assert found.value("purchase", "log_loss") == plain.value("purchase", "log_loss")
    assert [(row.task, row.metric) for row in found.rows] == [
        (row.task, row.metric) for row in plain.rows
    ]


def test_a_bundle_compared_with_itself_differs_by_nothing(scorer: Scorer) -> None:
    result = compare_scorers(scorer, scorer, feeds.log(), metrics=["auc", "mae"], resamples=40)
    assert result.rows
    for row in chain(result.rows):
        if row.reason is None:
            assert row.difference == 0
            assert row.significant is not True


def test_bundles_whose_tasks_mean_something_else_are_not_compared(scorer: Scorer) -> None:
    bundle = scorer.bundle
    tasks = tuple(
        task.model_copy(update={"within": None}) if task.name == "purchase" else task
        for task in bundle.schema.tasks
    )
    other = Scorer(
        dataclasses.replace(bundle, schema=bundle.schema.model_copy(update={"tasks": tasks}))
    )
    with pytest.raises(ConfigError, match="'purchase' means something else"):
        compare_scorers(scorer, other, feeds.log())
    renamed = tuple(task.model_copy(update={"name": f"my_{task.name}"}) for task in tasks)
    alien = Scorer(
        dataclasses.replace(bundle, schema=bundle.schema.model_copy(update={"tasks": renamed}))
    )
    with pytest.raises(ConfigError, match="no task in common"):
        compare_scorers(scorer, alien, feeds.log())


def test_an_empty_side_of_the_log_is_an_error_not_a_number(scorer: Scorer) -> None:
    unclicked = feeds.log().filter(pa.compute.equal(feeds.log()["click"], 0))
    result = evaluate_log(scorer, unclicked, EvaluationConfig(resamples=0))
    assert result.row("purchase", "auc").reason is not None
    assert np.isnan(result.value("purchase", "auc"))
