"""Lengths and censoring on their way to the heads, and what the fit learns of a label by length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyrank.data import EncodedLog, Encoders, Reader, open_log
from polyrank.data.encoding.distribution import quantiles_of
from polyrank.data.layout import TargetStats
from polyrank.errors import ArtefactError, ConfigError, DataError
from polyrank.heads.base import own_extras
from polyrank.schema import Duration, Keys, Numeric, Regression, Schema

PLAY = Duration(name="play", unit="min", length="lasts", length_groups=2, censored="cut")
SCHEMA = Schema(
    features=(Numeric(name="age"),),
    tasks=(PLAY, Duration(name="stay"), Regression(name="stars")),
    keys=Keys(weight="weight"),
)
ROWS: dict[str, list[Any]] = {
    "age": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "play": [0.5, 1.0, 3.0, 2.0, None, 4.0],
    "lasts": [1.0, 1.0, 4.0, 4.0, 9.0, None],
    "cut": [0, 1, 0, 0, 1, None],
    "stay": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "stars": [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0],
    "weight": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
}


def read(columns: dict[str, list[Any]], schema: Schema = SCHEMA, **options: Any) -> pa.Table:
    return pa.concat_tables(Reader(open_log(pa.table(columns)), schema, **options).chunks("all"))


def slow_share(values: list[float], weights: list[int], cut: list[bool], at: float) -> float:
    """P(value <= at): the product over the distinct times up to it of who is left."""
    left = 1.0
    for time in sorted({value for value in values if value <= at}):
        risk = sum(w for value, w in zip(values, weights, strict=True) if value >= time)
        died = sum(
            w
            for value, w, was_cut in zip(values, weights, cut, strict=True)
            if value == time and not was_cut
        )
        left *= 1 - died / risk
    return 1 - left


SAMPLES = st.lists(
    st.tuples(st.integers(0, 6).map(float), st.integers(1, 3), st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(SAMPLES, st.integers(1, 9))
def test_quantiles_are_where_the_product_limit_reaches_them(
    rows: list[tuple[float, int, bool]], steps: int
) -> None:
    values, weights, cut = (list(column) for column in zip(*rows, strict=True))
    found = quantiles_of(np.array(values), np.array(weights, dtype=float), np.array(cut), steps)
    distinct = sorted(set(values))
    for step, quantile in enumerate(found):
        reached = [
            value
            for value in distinct
            if slow_share(values, weights, cut, value) >= step / steps - 1e-9
        ]
        assert quantile == (reached[0] if reached else distinct[-1])


@settings(max_examples=100, deadline=None)
@given(SAMPLES, st.integers(1, 9))
def test_without_censoring_they_are_those_of_the_repeated_values(
    rows: list[tuple[float, int, bool]], steps: int
) -> None:
    values, weights, _ = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    found = quantiles_of(values, weights, np.zeros(len(values), dtype=bool), steps)
    repeated: NDArray[np.float64] = np.repeat(values, weights.astype(int))
    wanted = np.quantile(repeated, np.arange(steps + 1) / steps, method="inverted_cdf")
    np.testing.assert_array_equal(found, wanted)


def test_lengths_and_cuts_reach_the_batch_in_seconds() -> None:
    table = read(ROWS)
    encoders = Encoders.fit(SCHEMA, [table])
    assert encoders.layout.extras == ("play.length", "play.censored")
    batch = encoders.encode(table)
    nan = float("nan")
    assert batch.extras.keys() == {"play.length", "play.censored"}
    wanted = torch.tensor([60.0, 60.0, 240.0, 240.0, 540.0, nan])
    torch.testing.assert_close(batch.extras["play.length"], wanted, equal_nan=True)
    assert batch.extras["play.censored"].tolist() == [0, 1, 0, 0, 1, 0]
    assert own_extras(batch.extras, "play").keys() == {"length", "censored"}
    assert not own_extras(batch.extras, "stay")
    assert not own_extras(batch.extras, "pla")


def test_lengths_alone_are_known_when_scoring() -> None:
    encoders = Encoders.fit(SCHEMA, [read(ROWS)])
    asked = {name: ROWS[name] for name in ("age", "lasts")}
    batch = encoders.encode(read(asked, labels=False), labels=False)
    assert batch.extras.keys() == {"play.length"}
    with pytest.raises(DataError, match="'lasts'"):
        read({"age": [1.0]}, labels=False)


def test_the_encoded_log_keeps_them(tmp_path: Path) -> None:
    table = read(ROWS)
    encoders = Encoders.fit(SCHEMA, [table])
    log = EncodedLog.build(tmp_path / "log", encoders, [table], fingerprint="x")
    (batch,) = log.batches(batch_size=10, seed=0, epoch=0, shuffle=False)
    for name, value in encoders.encode(table).extras.items():
        torch.testing.assert_close(batch.extras[name], value, equal_nan=True, rtol=0, atol=0)


def test_the_fit_learns_the_label_by_length() -> None:
    stats = Encoders.fit(SCHEMA, [read(ROWS)]).layout.targets["play"]
    assert len(stats.quantiles) == 513
    # Observed: 30, 60 (cut), 120, 180, 240 s. Shares by hand: 1/5; then of three at risk one each.
    shares = {30.0: 1 / 5, 120.0: 1 - 4 / 5 * 2 / 3, 180.0: 1 - 4 / 5 / 3, 240.0: 1.0}
    for value, share in shares.items():
        assert stats.quantiles[int(share * 512)] == value
        assert stats.quantiles[min(int(share * 512) + 1, 512)] == (
            value if share == 1 else min(other for other in shares if other > value)
        )
    assert stats.groups is not None
    assert stats.groups.edges == (240.0,)
    short, long = stats.groups.quantiles
    # 30 s, then a view cut at 60 s: what lies beyond is put on the largest.
    assert (short[0], short[64], short[65], short[128]) == (30.0, 30.0, 60.0, 60.0)
    assert (long[0], long[64], long[65], long[128]) == (120.0, 120.0, 180.0, 180.0)


def test_without_lengths_there_are_no_groups() -> None:
    targets = Encoders.fit(SCHEMA, [read(ROWS)]).layout.targets
    for name, unit in (("stay", 1.0), ("stars", 1.0)):
        stats = targets[name]
        assert stats.groups is None
        assert stats.quantiles[0] == min(ROWS[name]) * unit
        assert stats.quantiles[256] == sorted(ROWS[name])[2]
        assert stats.quantiles[512] == max(ROWS[name])


def test_unknown_lengths_alone_make_no_groups() -> None:
    log = ROWS | {"lasts": pa.nulls(6, pa.float64())}
    assert Encoders.fit(SCHEMA, [read(log)]).layout.targets["play"].groups is None


def test_rows_of_weight_zero_teach_nothing() -> None:
    silent = {name: [*values, values[0]] for name, values in ROWS.items()}
    silent |= {"play": [*ROWS["play"], 99.0], "weight": [*ROWS["weight"], 0.0]}
    with_it = Encoders.fit(SCHEMA, [read(silent)]).layout.targets["play"]
    without = Encoders.fit(SCHEMA, [read(ROWS)]).layout.targets["play"]
    assert with_it == without


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6))
def test_the_cut_into_chunks_changes_nothing(rows: int) -> None:
    table = read(ROWS)
    chunks = [table.slice(start, rows) for start in range(0, 6, rows)]
    whole = Encoders.fit(SCHEMA, [table]).layout.targets["play"]
    assert Encoders.fit(SCHEMA, chunks).layout.targets["play"] == whole


def test_the_state_brings_it_all_back() -> None:
    encoders = Encoders.fit(SCHEMA, [read(ROWS)])
    meta, arrays = encoders.state()
    again = Encoders.from_state(SCHEMA, json.loads(json.dumps(meta)), arrays)
    assert again.layout == encoders.layout
    assert again.fingerprint() == encoders.fingerprint()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("play.label_quantiles", lambda array: array[::-1]),
        ("play.label_quantiles", lambda array: array[1:]),
        ("play.label_quantiles", lambda array: array * np.nan),
        ("play.length_edges", lambda array: np.append(array, 1e9)),
        ("play.length_edges", lambda array: array * np.inf),
        ("play.length_quantiles", lambda array: array[1:]),
        ("play.length_quantiles", lambda array: np.r_[array[128::-1], array[129:]]),
        ("stars.label_quantiles", lambda array: array.astype(np.float32)),
    ],
)
def test_a_damaged_state_is_refused(name: str, change: Any) -> None:
    meta, arrays = Encoders.fit(SCHEMA, [read(ROWS)]).state()
    damaged = {**arrays, name: change(arrays[name])}
    with pytest.raises(ArtefactError, match="play|stars"):
        Encoders.from_state(SCHEMA, meta, damaged)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("cut", 2, "`censored` of task 'play' is 0 or 1"),
        ("lasts", -1.0, "the length of task 'play' is at least 0"),
        ("lasts", float("inf"), "the length of task 'play' is finite"),
    ],
)
def test_impossible_values_are_refused(column: str, value: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(ROWS | {column: [value, *ROWS[column][1:]]})


def test_whether_it_was_cut_is_no_feature_but_the_length_may_be() -> None:
    with pytest.raises((ConfigError, ValueError), match="'cut', which is a label"):
        Schema(features=(Numeric(name="cut"),), tasks=(PLAY,))
    assert Schema(features=(Numeric(name="lasts"),), tasks=(PLAY,)).label_columns() == (
        "play",
        "cut",
    )


def test_stats_without_a_distribution_are_those_of_a_binary_task() -> None:
    stats = TargetStats(mean=0.5, std=0.5, count=4)
    assert (stats.quantiles, stats.groups) == ((), None)
