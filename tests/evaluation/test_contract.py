"""The laws every registered metric keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.errors import DataError
from polyrank.evaluation import METRICS, Measure
from polyrank.evaluation._metric import measure
from polyrank.evaluation._rows import select_rows
from tests.evaluation.cases import CASES, Sample, sample

NAMES = sorted(METRICS)
each_metric = pytest.mark.parametrize("name", NAMES)
seeds = given(seed=st.integers(0, 2**32 - 1))
few = settings(max_examples=40, deadline=None)


def call(name: str, rows: Sample, **more: Any) -> Measure:
    return METRICS[name](
        rows.labels, rows.probs, weights_N=rows.weights, groups_N=rows.groups, **more
    )


def draw(name: str, seed: int, size: int | None = None) -> tuple[np.random.Generator, Sample]:
    rng = np.random.default_rng(seed)
    return rng, sample(rng, CASES[name].kind, size)


def same(a: Measure, b: Measure, tolerance: float = 0.0) -> None:
    assert a.reason == b.reason
    if a.reason is None:
        assert abs(a.value - b.value) <= tolerance * max(1.0, abs(b.value))


def compare_with_oracle(name: str, cases: int) -> None:
    rng = np.random.default_rng(sum(map(ord, name)))
    for _ in range(cases):
        rows = sample(rng, CASES[name].kind)
        counted = rows.take(np.flatnonzero(rows.weights > 0))
        expected = CASES[name].oracle(counted) if len(counted.labels) else None
        got = call(name, rows)
        assert (got.reason is None) == (expected is not None), (got, expected)
        if expected is not None:
            assert abs(got.value - expected) <= 1e-12 * max(1.0, abs(expected))


def test_no_metric_lacks_a_case() -> None:
    assert set(CASES) == set(METRICS)
    assert all(metric.name == name and "." not in name for name, metric in METRICS.items())


@each_metric
def test_equals_the_second_implementation(name: str) -> None:
    compare_with_oracle(name, 200)


@pytest.mark.nightly
@each_metric
def test_equals_the_second_implementation_many_times(name: str) -> None:
    compare_with_oracle(name, 5000)


@each_metric
@few
@seeds
def test_the_order_of_rows_leaves_no_trace(name: str, seed: int) -> None:
    rng, rows = draw(name, seed)
    same(call(name, rows.take(rng.permutation(len(rows.labels)))), call(name, rows))


@each_metric
@few
@seeds
def test_weight_zero_or_masked_is_removed(name: str, seed: int) -> None:
    rng, rows = draw(name, seed)
    keep = rng.random(len(rows.labels)) < 0.7
    removed = call(name, rows.take(np.flatnonzero(keep)))
    gone = np.where(keep, rows.probs, np.nan)
    masked = Sample(np.where(keep, rows.labels, np.nan), gone, rows.weights, rows.groups)
    same(call(name, masked, mask_N=keep), removed)
    weightless = Sample(masked.labels, gone, np.where(keep, rows.weights, 0), rows.groups)
    same(call(name, weightless), removed)


@each_metric
@few
@seeds
def test_weight_two_is_repeated(name: str, seed: int) -> None:
    rng, rows = draw(name, seed)
    if CASES[name].repeats_lists:
        twice = np.isin(rows.groups, rng.choice(rows.groups, 3))
        copy = np.where(twice, rows.groups + 1, rows.groups)
    else:
        twice = rng.random(len(rows.labels)) < 0.5
        copy = rows.groups
    doubled = Sample(rows.labels, rows.probs, np.where(twice, 2.0, 1.0), rows.groups)
    index = np.flatnonzero(twice)
    repeated = Sample(
        np.concatenate([rows.labels, rows.labels[index]]),
        np.concatenate([rows.probs, rows.probs[index]]),
        np.ones(len(rows.labels) + len(index)),
        np.concatenate([rows.groups, copy[index]]),
    )
    same(call(name, doubled), call(name, repeated), 1e-12)


@each_metric
@few
@seeds
def test_drawn_counts_are_weights(name: str, seed: int) -> None:
    rng, rows = draw(name, seed)
    by_row = rng.integers(0, 3, len(rows.labels)).astype(float)
    by_group = (np.abs(rows.groups // 2**61) % 3).astype(float)
    selected = select_rows(rows.labels, rows.probs, None, rows.weights).canonical()
    statistic = METRICS[name].bind(selected, rows.groups[selected.index_N])
    for counts in (by_row, by_group):
        drawn = measure(statistic, selected.draw_of(counts[selected.index_N]))
        weighted = Sample(rows.labels, rows.probs, rows.weights * counts, rows.groups)
        same(drawn, call(name, weighted), 1e-12)


@each_metric
@pytest.mark.parametrize("scale", [2.0**-900, 1e-300, 3.0, 1e300])
def test_only_relative_weights_count(name: str, scale: float) -> None:
    _, rows = draw(name, 7, 50)
    scaled = Sample(rows.labels, rows.probs, rows.weights * scale, rows.groups)
    same(call(name, scaled), call(name, rows), 1e-12)


@each_metric
def test_nothing_left_is_undefined(name: str) -> None:
    _, rows = draw(name, 3, 20)
    weightless = Sample(rows.labels, rows.probs, np.zeros(20), rows.groups)
    for nothing in (
        call(name, rows, mask_N=np.zeros(20, dtype=bool)),
        call(name, rows.take(np.zeros(0, dtype=int))),
        call(name, weightless),
    ):
        assert math.isnan(nothing.value)
        assert nothing.reason == "no observed row"
    empty = select_rows([], [])
    assert METRICS[name].bind(empty, empty.index_N)(empty.draw).reason == "no observed row"


@each_metric
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_equal_labels_give_no_plausible_number(name: str, label: float) -> None:
    rows = Sample(np.full(9, label), np.linspace(0, 1, 9), np.ones(9), np.arange(9) % 2)
    answer = call(name, rows)
    defined = CASES[name].defined_for_equal_labels or (label > 0 and name in {"ratio", "ndcg@10"})
    assert math.isnan(answer.value) is not defined
    assert (answer.reason is None) is defined


@each_metric
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_predictions_that_are_not_finite_are_counted_and_refused(name: str, bad: float) -> None:
    _, rows = draw(name, 5, 20)
    rows.weights[:] = 1
    rows.probs[[2, 11]] = bad
    with pytest.raises(DataError, match=r"predictions must be finite.*2 of 20 rows"):
        call(name, rows)


@each_metric
@pytest.mark.parametrize("wrap", [np.asarray, pl.Series, pa.array])
def test_accepts_any_number_type_and_leaves_it_alone(name: str, wrap: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    labels, weights, groups = (rng.integers(0, high, 64) for high in (2, 3, 5))
    probs = (rng.integers(0, 9, 64) / 8).astype(np.float32)
    expected = METRICS[name](
        labels.astype(float), probs.astype(float), weights_N=weights, groups_N=groups
    )
    for array in (labels, probs, weights, groups):
        array.flags.writeable = False
    for kind in (np.int8, np.float32, np.bool_):
        got = METRICS[name](
            wrap(labels.astype(kind)),
            wrap(probs),
            weights_N=wrap(weights.astype(np.float32)),
            groups_N=wrap(groups),
        )
        assert got == expected


@each_metric
def test_the_better_end_is_better(name: str) -> None:
    rng, rows = draw(name, 11, 400)
    labels = (rng.random(400) < 0.4).astype(float)
    metric, best = METRICS[name], CASES[name].best
    perfect = metric(labels, labels, groups_N=rows.groups).value
    noise = metric(labels, rng.random(400), groups_N=rows.groups).value
    if best is not None:
        assert perfect == pytest.approx(best, abs=1e-15)
    if metric.higher_is_better is not None:
        assert (perfect > noise) is metric.higher_is_better


@each_metric
def test_groups_are_required_where_needed(name: str) -> None:
    metric = METRICS[name]
    assert (metric.needs == "groups") is bool(metric.group_keys)
    if metric.needs is None:
        assert metric([0, 1, 1], [0.1, 0.9, 0.2]).reason is None
        return
    with pytest.raises(DataError, match="groups_N is missing"):
        metric([0, 1], [0.1, 0.9])
    with pytest.raises(DataError, match="groups_N must be integers, got float64"):
        metric([0, 1], [0.1, 0.9], groups_N=[0.5, 1.5])
