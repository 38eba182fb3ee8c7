"""Encoders on a real log, against counts that polars makes."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from polyrank.data.cache import EncodedLog
from polyrank.data.encoders import Encoders
from polyrank.data.join import load_side_table
from polyrank.data.reader import Reader
from polyrank.data.source import open_log
from polyrank.data.split import TimeSplit
from polyrank.schema import (
    Binary,
    Categorical,
    Duration,
    Keys,
    Numeric,
    Schema,
    Sequence,
    SideTable,
)

ROOT = Path(os.environ.get("POLYRANK_DATA") or Path(__file__).parents[3] / "shared" / "data")
LOG = ROOT / "kuairand" / "log_standard_0425_0430.parquet"
HISTORY = ROOT / "kuairand" / "user_history_to_0424.parquet"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not LOG.exists(), reason=f"{LOG} is not there; set POLYRANK_DATA"),
]
SCHEMA = Schema(
    features=(
        Categorical(name="video_id", side="item"),
        Categorical(name="user_id", side="user", min_frequency=3),
        Categorical(name="tab", min_frequency=1),
        Sequence(name="watch_seq", side="user", shares="video_id", max_length=20),
        Numeric(name="duration_ms", side="item"),
    ),
    tasks=(
        Binary(name="is_click"),
        Binary(name="is_like", within="is_click"),
        Duration(name="play_time_ms", unit="ms"),
    ),
    keys=Keys(user="user_id", time="date"),
    tables=(SideTable(name="history", on="user_id"),),
)


def test_a_real_log_is_encoded_as_polars_counts_it(tmp_path: Path) -> None:
    tables = {"history": load_side_table(HISTORY, SCHEMA.tables[0], SCHEMA)}
    split = TimeSplit(validation_from=20220429, test_from=20220430)
    reader = Reader(open_log(LOG), SCHEMA, tables=tables, split=split)
    encoders = Encoders.fit(SCHEMA, reader.chunks("train"))
    log = EncodedLog.build(tmp_path, encoders, reader.chunks("train"), fingerprint="a")
    raw = pl.read_parquet(LOG).filter(pl.col("date") < 20220429)
    counts = raw["video_id"].value_counts().filter(pl.col("count") >= 2)
    order = counts.sort(["count", "video_id"], descending=[True, False])["video_id"].to_list()
    assert encoders.state()[1]["video_id.ids"].tolist() == order
    (batch,) = log.batches(batch_size=10**6, seed=0, epoch=0, shuffle=False)
    assert len(batch) == len(raw)
    rows = {video: 2 + place for place, video in enumerate(order)}
    assert batch.ids_BF[:, 0].tolist() == [rows.get(video, 1) for video in raw["video_id"]]
    watched = raw.join(pl.read_parquet(HISTORY), on="user_id", how="left", maintain_order="left")
    newest = watched["watch_seq"].list.tail(20)
    lengths = newest.list.len().fill_null(0).to_list()
    assert batch.ragged["watch_seq"].lengths_B.tolist() == lengths
    flat = newest.explode().drop_nulls().to_list()
    assert batch.ragged["watch_seq"].values_V.tolist() == [rows.get(video, 1) for video in flat]
    targets = encoders.layout.targets
    clicked = raw.filter(pl.col("is_click") == 1)
    assert targets["is_click"].mean == pytest.approx(raw["is_click"].mean())
    assert targets["is_like"].mean == pytest.approx(clicked["is_like"].mean())
    assert targets["is_like"].count == len(clicked)
    seconds = (raw["play_time_ms"] / 1000).log1p()
    assert targets["play_time_ms"].mean == pytest.approx(seconds.mean())
    assert targets["play_time_ms"].std == pytest.approx(seconds.std(ddof=0))
