from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.data.join import load_side_table
from polyrank.data.lint import DataWarning
from polyrank.data.reader import Reader
from polyrank.data.source import open_log, open_query
from polyrank.data.split import PARTS, TimeSplit
from polyrank.data.validate import validate_log
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Deduplicate,
    Duration,
    Keys,
    Numeric,
    Schema,
    SideTable,
)
from polyrank.schema import Sequence as Watched

DATA = Path(os.environ.get("POLYRANK_DATA") or Path(__file__).parents[3] / "shared" / "data")
KUAIRAND = DATA / "kuairand"
CENSUS = DATA / "census_income"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not KUAIRAND.is_dir(), reason=f"the real logs are not in {DATA}"),
]

LOG = "log_standard_0425_0430.parquet"
TABLES = {
    "users": ("user_id", "user_features_pure.parquet"),
    "videos": ("video_id", "video_features_basic_pure.parquet"),
    "history": ("user_id", "user_history_to_0424.parquet"),
}
SCHEMA = Schema(
    features=(
        Categorical(name="user_id", side="user"),
        Categorical(name="video_id", side="item"),
        Categorical(name="tab"),
        Numeric(name="duration_ms", side="item"),
        Categorical(name="user_active_degree", side="user"),
        Numeric(name="register_days", side="user", missing_values=(-124,)),
        Categorical(name="author_id", side="item"),
        Bag(name="tag", side="item", separator=","),
        Watched(name="watched", column="watch_seq", side="user", shares="video_id"),
    ),
    tasks=(
        Binary(name="click", label="is_click"),
        Binary(name="long_view"),
        Binary(name="like", label="is_like"),
        Duration(name="play", label="play_time_ms", unit="ms"),
    ),
    keys=Keys(user="user_id", item="video_id", time="time_ms"),
    tables=tuple(SideTable(name=name, on=on) for name, (on, _) in TABLES.items()),
    deduplicate=Deduplicate(),
)
SPLIT = TimeSplit(column="date", validation_from=20220429, test_from=20220430)


def side_tables() -> dict[str, pa.Table]:
    return {
        side.name: load_side_table(TABLES[side.name][1], side, SCHEMA, root=KUAIRAND)
        for side in SCHEMA.tables
    }


def test_the_days_are_split_joined_and_counted() -> None:
    reader = Reader(open_log(LOG, root=KUAIRAND), SCHEMA, tables=side_tables(), split=SPLIT)
    tables = {part: pa.concat_tables(reader.chunks(part)) for part in PARTS}  # type: ignore[arg-type]
    for part, days in zip(
        PARTS, ({*range(20220425, 20220429)}, {20220429}, {20220430}), strict=True
    ):
        assert set(tables[part].column("date").to_pylist()) == days
    reader.ledger.check()
    assert reader.ledger.read == 94_784
    assert reader.ledger.quarantined == reader.ledger.masked == 0
    assert reader.ledger.used == sum(table.num_rows for table in tables.values())

    # The same in plain Python: first of each row that is the same in all columns read.
    names = [name for name in reader.schema.names if name in pq.read_schema(KUAIRAND / LOG).names]
    rows = list(
        zip(*pq.read_table(KUAIRAND / LOG, columns=names).to_pydict().values(), strict=True)
    )
    firsts = list(dict.fromkeys(rows))
    assert reader.ledger.filtered == {"duplicate": len(rows) - len(firsts)}
    day = names.index("date")
    assert Counter(row[day] for row in firsts) == Counter(
        day for table in tables.values() for day in table.column("date").to_pylist()
    )
    videos = pq.read_table(KUAIRAND / TABLES["videos"][1], columns=["video_id", "tag"]).to_pylist()
    tags = {row["video_id"]: row["tag"] for row in videos}
    test = tables["test"].select(["video_id", "tag"]).slice(0, 2000).to_pylist()
    for row in test:
        tag = tags.get(row["video_id"])
        assert row["tag"] == (None if tag is None else tag.split(","))


def test_files_queries_and_tables_give_the_same_rows() -> None:
    sources = [
        open_log(LOG, root=KUAIRAND, chunk_rows=10_000),
        open_log(pq.read_table(KUAIRAND / LOG)),
        open_query(f"SELECT * FROM '{LOG}'", root=KUAIRAND),
    ]
    tables = side_tables()
    read = [
        pa.concat_tables(Reader(source, SCHEMA, tables=tables, split=SPLIT).chunks("validation"))
        for source in sources
    ]
    assert all(table.equals(read[0]) for table in read)


def test_the_log_has_no_problem() -> None:
    source = open_log(LOG, root=KUAIRAND)
    assert validate_log(source, SCHEMA, side_tables(), split=SPLIT) == []


def test_a_planted_leak_is_caught() -> None:
    leaky = SCHEMA.model_copy(
        update={"features": (*SCHEMA.features, Numeric(name="stay", column="comment_stay_time"))}
    )
    tasks = (*SCHEMA.tasks, Binary(name="comment", label="is_comment"))
    leaky = leaky.model_copy(update={"tasks": tasks})
    log = pq.read_table(KUAIRAND / LOG)
    known = pa.array([int(x) * 1000 + 1 if x else 0 for x in log.column("is_click").to_pylist()])
    planted = log.set_column(
        log.column_names.index("comment_stay_time"), "comment_stay_time", known
    )
    problems = validate_log(open_log(planted), leaky, side_tables())
    told = [problem.message for problem in problems if isinstance(problem, DataWarning)]
    assert any("feature 'stay' alone predicts task 'click'" in message for message in told)


def test_census_has_labels_by_name() -> None:
    schema = Schema(
        features=(Numeric(name="age"), Categorical(name="sex")),
        tasks=(
            Binary(name="income", label="income_50k", positive=(" 50000+.",)),
            Binary(name="single", label="marital_stat", positive=("Never married",)),
        ),
    )
    path = CENSUS / "census_income_test.parquet"
    values = set(pq.read_table(path, columns=["income_50k"]).column(0).to_pylist())
    (rich,) = (value for value in values if "50000+" in value)
    tasks = (schema.tasks[0].model_copy(update={"positive": (rich,)}), schema.tasks[1])
    schema = schema.model_copy(update={"tasks": tasks})
    reader = Reader(open_log(path), schema)
    assert sum(table.num_rows for table in reader.chunks()) == 99_762
    labels = reader.ledger.parts["all"].labels
    assert {name: (count.observed, count.low, count.high) for name, count in labels.items()} == {
        "income": (99_762, 0.0, 1.0),
        "single": (99_762, 0.0, 1.0),
    }
