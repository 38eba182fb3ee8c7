"""What the log is: its columns, its order, and that it is the same however it is asked for."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from polyrank.errors import ConfigError
from polyrank.simulation import TRUTH_PREFIX, Feed, FeedConfig, observed
from tests.simulation.samples import column, make_log

SMALL: dict[str, Any] = {"num_users": 80, "num_items": 60, "candidates_per_request": 7}
DAY_MS = 86_400_000

COLUMNS = """
user_id: int64
item_id: int64
request_id: int64
time_ms: int64
position: int32
propensity: double
surface: string
hour: int32
user_country: string
user_age_bucket: string
user_activity: float
user_history: list<item: int64>
item_author: int64
item_category: string
item_tags: list<item: string>
item_length_s: float
item_age_days: float
item_embedding: fixed_size_list<item: float>[8]
click: int8
long_view: int8
purchase: int8
like: int8
report: int8
watch_time_s: float
truth_relevance: float
truth_appeal: float
truth_clickbait: float
truth_examination: float
truth_satisfaction: float
truth_click_probability: float
truth_long_view_probability: float
truth_purchase_probability: float
truth_like_probability: float
truth_report_probability: float
truth_watch_time_s: float
"""


def test_the_columns_are_these(default_log: pa.Table) -> None:
    assert [f"{field.name}: {field.type}" for field in default_log.schema] == COLUMNS.split("\n")[
        1:-1
    ]
    assert default_log.schema.equals(Feed().schema)


def test_nothing_observed_is_truth(default_log: pa.Table) -> None:
    names = observed(default_log).column_names
    assert names == [line.split(":")[0] for line in COLUMNS.split("\n")[1:25]]
    assert not any(name.startswith(TRUTH_PREFIX) for name in names)


@pytest.mark.parametrize("chunk_rows", [1, 7, 999, 16_379, 16_380, 50_000, 10**7])
def test_rows_do_not_depend_on_the_chunks(chunk_rows: int) -> None:
    num_rows = 2_000 if chunk_rows < 10 else 40_003
    feed = Feed(FeedConfig(**SMALL))
    whole = pa.concat_tables(feed.tables(num_rows)).combine_chunks()
    chunks = list(feed.tables(num_rows, chunk_rows))
    assert [len(chunk) for chunk in chunks[:-1]] == [chunk_rows] * (len(chunks) - 1)
    assert 1 <= len(chunks[-1]) <= chunk_rows
    assert _digest(pa.concat_tables(chunks).combine_chunks()) == _digest(whole)


@pytest.mark.parametrize("first_row", [0, 1, 16_379, 16_380, 33_333, 40_002])
def test_a_log_can_be_entered_anywhere(first_row: int) -> None:
    feed = Feed(FeedConfig(**SMALL))
    whole = pa.concat_tables(feed.tables(40_003)).combine_chunks()
    rest = pa.concat_tables(feed.tables(40_003, first_row=first_row)).combine_chunks()
    assert _digest(rest) == _digest(whole.slice(first_row).combine_chunks())


def test_two_logs_at_once_do_not_disturb_each_other() -> None:
    feed = Feed(FeedConfig(**SMALL))
    alone = list(feed.tables(30_000, 10_000))
    first, second = feed.tables(30_000, 10_000), feed.tables(30_000, 10_000)
    for one, other, expected in zip(first, second, alone, strict=True):
        assert one.equals(expected)
        assert other.equals(expected)


def test_another_process_with_other_threads_makes_the_same_bytes() -> None:
    code = (
        "from tests.simulation.test_log import _digest, SMALL\n"
        "from tests.simulation.samples import make_log\n"
        "import sys; sys.stdout.write(_digest(make_log(20_000, **SMALL)))"
    )
    found = set()
    for threads in ("1", "2"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert found == {_digest(make_log(20_000, **SMALL))}


def test_the_seed_changes_everything() -> None:
    first, second = make_log(2_000, **SMALL), make_log(2_000, seed=1, **SMALL)
    shared = set(first["user_id"].to_pylist()) & set(second["user_id"].to_pylist())
    assert not shared
    assert not first["click"].equals(second["click"])


def test_a_longer_log_only_moves_requests_in_time() -> None:
    short, long = make_log(10_000, **SMALL), make_log(20_000, **SMALL).slice(0, 9_996)
    for name in ("user_id", "request_id", "surface", "truth_relevance", "truth_appeal"):
        assert short.slice(0, 9_996)[name].equals(long[name]), name
    assert not short.slice(0, 9_996)["time_ms"].equals(long["time_ms"])


def test_time_fills_the_days_and_never_goes_back(default_log: pa.Table) -> None:
    time_ms = default_log["time_ms"].to_numpy()
    start = 1_767_571_200_000  # 2026-01-05T00:00:00Z
    assert (np.diff(time_ms) >= 0).all()
    assert time_ms[0] >= start
    assert time_ms[-1] < start + 7 * DAY_MS
    per_day = np.bincount((time_ms - start) // DAY_MS, minlength=7)
    np.testing.assert_allclose(per_day, 200_000 / 7, rtol=0.01)
    np.testing.assert_array_equal(column(default_log, "hour"), time_ms % DAY_MS // 3_600_000)


def test_the_evening_is_busier_than_the_morning(default_log: pa.Table) -> None:
    per_hour = np.bincount(default_log["hour"].to_numpy(), minlength=24)
    assert per_hour.argmax() in (19, 20)
    assert per_hour.min() > 0


@pytest.mark.parametrize("days", [1, 3, 40])
def test_days_sets_how_many_days_there_are(days: int) -> None:
    time_ms = make_log(5_000, days=days, **SMALL)["time_ms"].to_numpy()
    assert len(np.unique(time_ms // DAY_MS)) == days


def test_a_request_is_one_list_of_distinct_items(default_log: pa.Table) -> None:
    position = default_log["position"].to_numpy().reshape(-1, 10)
    np.testing.assert_array_equal(position, np.tile(np.arange(1, 11), (len(position), 1)))
    for name in ("request_id", "user_id", "time_ms", "surface"):
        values = np.asarray(default_log[name].to_pylist()).reshape(-1, 10)
        assert (values == values[:, :1]).all(), name
    items = np.sort(default_log["item_id"].to_numpy().reshape(-1, 10), axis=1)
    assert (np.diff(items, axis=1) > 0).all()
    assert len(pc.unique(default_log["request_id"])) == len(position)


def test_the_last_request_is_cut_at_the_last_row() -> None:
    log = make_log(24, **SMALL)
    assert log["position"].to_pylist() == [*range(1, 8), *range(1, 8), *range(1, 8), 1, 2, 3]


def test_labels_after_a_click_are_null_or_zero_without_one(default_log: pa.Table) -> None:
    click = column(default_log, "click") == 1
    for name in ("long_view", "purchase", "watch_time_s"):
        np.testing.assert_array_equal(np.isnan(column(default_log, name)), ~click)
    for name in ("like", "report"):
        values = column(default_log, name)
        assert set(np.unique(values)) == {0.0, 1.0}
        assert (values[~click] == 0).all()
    assert default_log["click"].null_count == 0
    assert np.nanmin(column(default_log, "watch_time_s")) > 0


def test_the_funnel_nests(default_log: pa.Table) -> None:
    click, long_view, purchase = (
        np.nan_to_num(column(default_log, name)) for name in ("click", "long_view", "purchase")
    )
    assert (long_view <= click).all()
    assert (purchase <= long_view).all()
    assert click.sum() > long_view.sum() > purchase.sum() > 0


def test_features_and_keys_are_complete_but_for_activity(default_log: pa.Table) -> None:
    for name in observed(default_log).column_names:
        nulls = default_log[name].null_count
        if name == "user_activity":
            assert 0 < nulls < 0.15 * len(default_log)
        elif name not in ("long_view", "purchase", "watch_time_s"):
            assert nulls == 0, name
    numbers = np.stack(default_log["item_embedding"].to_numpy())
    assert np.isfinite(numbers).all()


@pytest.mark.parametrize("side", ["user", "item"])
def test_the_side_tables_join_to_the_log(default_log: pa.Table, side: str) -> None:
    feed = Feed()
    table = feed.users() if side == "user" else feed.items()
    names = [name for name in table.column_names if name != f"{side}_id"]
    assert names == [
        name
        for name in default_log.column_names
        if name.startswith(f"{side}_") and name[-3:] != "_id"
    ]
    assert len(pc.unique(table[f"{side}_id"])) == len(table) == 2_000
    index = pc.index_in(default_log[f"{side}_id"], table[f"{side}_id"].combine_chunks())
    assert index.null_count == 0
    joined = table.take(index).combine_chunks()
    for name in names:
        assert joined[name].equals(default_log[name]), name


def test_histories_hold_known_items_once() -> None:
    feed = Feed(FeedConfig(num_users=5_000, num_items=100))
    known = set(feed.items()["item_id"].to_pylist())
    histories = feed.users()["user_history"].to_pylist()
    assert {len(history) for history in histories} == set(range(21))
    assert all(len(set(history)) == len(history) for history in histories)
    assert {item for history in histories for item in history} <= known


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "`num_rows` must be at least 1, got 0"),
        ((10, 0), "`chunk_rows` must be at least 1, got 0"),
    ],
)
def test_a_count_below_one_is_refused_before_the_first_row(
    arguments: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Feed(FeedConfig(**SMALL)).tables(*arguments)


@pytest.mark.parametrize("first_row", [-1, 10])
def test_a_start_outside_the_log_is_refused(first_row: int) -> None:
    with pytest.raises(ConfigError, match=rf"`first_row` must be in \[0, 10\).*got {first_row}"):
        Feed(FeedConfig(**SMALL)).tables(10, first_row=first_row)


def test_the_default_log_is_what_it_was_before_there_were_experiments() -> None:
    """Keys and labels to the bit; real numbers to what another machine's exp may change."""
    names = ("user_id", "item_id", "request_id", "time_ms", "position")
    labels = ("click", "long_view", "purchase", "like", "report")
    log = make_log(2_000)
    whole = [log[name].fill_null(-1).to_numpy().astype("<i8") for name in (*names, *labels)]
    digest = hashlib.sha256(np.column_stack(whole).tobytes()).hexdigest()
    assert digest == "a0bdfb153538d68ec79f29ea44f3827e0ffd8ebc4edeca9c308965ea67448d46"
    assert np.nansum(column(log, "watch_time_s")) == pytest.approx(12328.780955, rel=1e-6)
    assert column(log, "truth_satisfaction").sum() == pytest.approx(1070.798936, rel=1e-6)


def _digest(table: pa.Table) -> str:
    """SHA-256 of the Arrow bytes of a table of one chunk."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def test_the_row_digest_is_a_digest() -> None:
    log = make_log(100, **SMALL)
    changed = log.set_column(0, "user_id", pc.add(log["user_id"], 1))
    assert _digest(changed) != _digest(log)
