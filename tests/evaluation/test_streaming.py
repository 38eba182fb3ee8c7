"""Sums and histograms against the exact metrics."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.errors import ConfigError, DataError
from polyrank.evaluation import METRICS, Evaluation, Observations, StreamingEvaluator, evaluate
from polyrank.evaluation._sums import NUM_CELLS, cell_bounds, cells
from tests.evaluation.worlds import CLICK, PLAY, TASKS, log, take

BY_CELL = {"auc", "ece"}


def stream(observations: Observations, cuts: list[int]) -> StreamingEvaluator:
    evaluator = StreamingEvaluator(TASKS)
    bounds = [0, *sorted(cuts), observations.num_rows]
    for start, end in pairwise(bounds):
        evaluator.update(take(observations, slice(start, end)))
    return evaluator


def close(a: Evaluation, b: Evaluation) -> None:
    assert len(a.rows) == len(b.rows)
    for row, other in zip(a.rows, b.rows, strict=True):
        assert (row.task, row.metric, row.rows, row.positives, row.reason) == (
            other.task,
            other.metric,
            other.rows,
            other.positives,
            other.reason,
        )
        if row.reason is None:
            assert row.value == pytest.approx(other.value, rel=1e-12, abs=1e-15)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(0, 300), max_size=5),
    noise=st.floats(0.01, 20),
)
def test_streamed_is_exact_within_its_bound(seed: int, cuts: list[int], noise: float) -> None:
    observations = log(seed, noise=noise)
    evaluator = stream(observations, cuts)
    exact = evaluate(observations, TASKS, resamples=0)
    bounds = evaluator.error_bounds()
    assert {metric for _, metric in bounds} == BY_CELL
    for row in evaluator.result().rows:
        expected = exact.row(row.task, row.metric)
        assert (row.rows, row.positives) == (expected.rows, expected.positives)
        if METRICS[row.metric].stream is None:
            assert row.reason == "needs all rows in memory (evaluation.exact_rows, --exact-rows)"
            continue
        assert row.reason == expected.reason
        if row.reason is None:
            bound = bounds.get((row.task, row.metric))
            told = "needs all rows" if bound is None else f"within {bound:.1e} of the exact value"
            assert str(row.interval_reason).startswith(told)
            tolerance = 1e-12 * max(1, abs(expected.value)) + bounds.get((row.task, row.metric), 0)
            assert abs(row.value - expected.value) <= tolerance


def test_the_bound_is_tight_where_predictions_spread() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(-4, 1.5, 200_000)
    probs = 1 / (1 + np.exp(-logits))
    labels = (rng.random(200_000) < probs).astype(float)
    observations = Observations(
        predictions={"click": probs},
        labels={"click": labels},
        masks={"click": np.ones(200_000, dtype=bool)},
    )
    evaluator = StreamingEvaluator([CLICK], ["auc", "ece"])
    evaluator.update(observations)
    exact = evaluate(observations, [CLICK], metrics=["auc", "ece"], resamples=0)
    streamed, bounds = evaluator.result(), evaluator.error_bounds()
    assert 0 < bounds["click", "auc"] < 5e-4
    assert 0 < bounds["click", "ece"] < 2e-3
    for name in ("auc", "ece"):
        difference = abs(streamed.value("click", name) - exact.value("click", name))
        assert 0 < difference <= bounds["click", name]


def test_the_bound_covers_predictions_that_all_share_a_cell() -> None:
    """The worst case: the order within the cell is lost, and the bound says by how much."""
    labels = np.repeat([0.0, 1.0], 50)
    probs = 0.5 + np.linspace(-1e-5, 1e-5, 100) + 1e-4
    assert len(set(cells(probs))) == 1
    observations = Observations(
        predictions={"click": probs},
        labels={"click": labels},
        masks={"click": np.ones(100, dtype=bool)},
    )
    evaluator = StreamingEvaluator([CLICK], ["auc", "ece"])
    evaluator.update(observations)
    assert evaluator.result().value("click", "auc") == 0.5
    assert evaluator.error_bounds()["click", "auc"] == 0.5
    exact = evaluate(observations, [CLICK], metrics=["auc", "ece"], resamples=0)
    assert exact.value("click", "auc") == 1.0
    difference = exact.value("click", "ece") - evaluator.result().value("click", "ece")
    assert 0.4 < difference <= evaluator.error_bounds()["click", "ece"]


def test_cells_cover_all_probabilities_in_order() -> None:
    extremes = np.array([0.0, 5e-324, 1e-300, 1e-9, 0.5, 1 - 2.0**-53, 1.0])
    found = cells(extremes)
    assert found[0] == found[1] == found[2] == 0
    assert found[-1] == found[-2] == NUM_CELLS - 1
    grid = np.linspace(0, 1, 100_001)
    assert (np.diff(cells(grid)) >= 0).all()
    lowest, highest = cell_bounds()
    assert (lowest[cells(grid)] <= grid * (1 + 1e-12)).all()
    assert (grid <= highest[cells(grid)] * (1 + 1e-12)).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 300), min_size=2, max_size=4))
def test_any_cut_into_chunks_gives_the_same(seed: int, cuts: list[int]) -> None:
    close(stream(log(seed), cuts).result(), stream(log(seed), []).result())


def test_nothing_seen_is_undefined() -> None:
    evaluator = StreamingEvaluator(TASKS)
    result = evaluator.result()
    assert result.mode == "streamed"
    assert result.unit is None
    assert all(math.isnan(row.value) for row in result.rows)
    assert {row.reason for row in result.rows} >= {"no observed row"}
    assert set(evaluator.error_bounds().values()) == {0.0}
    none = StreamingEvaluator([])
    none.update(log())
    assert none.result().rows == ()


def test_a_refused_chunk_leaves_no_trace() -> None:
    evaluator = stream(log(), [])
    before = evaluator.result().to_json()
    bad = log(1)
    wrong = [
        {"predictions": {**bad.predictions, "like": bad.predictions["like"] * math.nan}},
        {"predictions": {**bad.predictions, "like": bad.predictions["like"] + 2}},
        {"labels": {**bad.labels, "click": bad.labels["click"] * 2}},
        {"labels": {**bad.labels, "play_time": -bad.labels["play_time"]}},
    ]
    for change in wrong:
        with pytest.raises(DataError):
            evaluator.update(replace(bad, **change))  # type: ignore[arg-type]
    assert evaluator.result().to_json() == before


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown metric"):
        StreamingEvaluator([PLAY], ["maee"])


def test_overflow_is_undefined() -> None:
    evaluator = StreamingEvaluator([PLAY], ["rmse", "mae"])
    observations = log()
    far = np.full(300, 1e300)
    evaluator.update(
        replace(observations, predictions={**observations.predictions, "play_time": far})
    )
    result = evaluator.result()
    assert result.row("play_time", "rmse").reason == "the result is not a finite float64 number"
    assert result.row("play_time", "mae").reason is None
