"""A guess agrees with a schema written by hand, and the data room takes it as it stands."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pytest

from polyrank.data import Encoders, Reader, load_side_table, open_log
from polyrank.data.validate import validate_log
from polyrank.schema import Duration, Schema, Sequence, guess_schema
from polyrank.simulation.config import FeedConfig
from polyrank.simulation.feed import Feed
from polyrank.simulation.schema import feed_schema
from tests.schema.logs import ITEMS, USERS, log, parts

FEED = FeedConfig(num_users=150, num_items=150, click_rate=0.3, report_rate=0.2)
ROLES = {
    "user_id": "user",
    "item_id": "item",
    "request_id": "request",
    "time_ms": "time",
    "position": "position",
    "propensity": "propensity",
    "sample_weight": "weight",
    "click": "click",
    "purchase": "buy_if_click",
    "is_hate": "report",
    "watch_time_s": "seconds",
    "age": "age",
    "city": "city",
    "price": "price",
    "genres": "genres",
    "device": "device",
    "hour": "hour",
    "score": "real",
    "num_views": "count",
    "vector": "vector",
    "watch_seq": "past",
}


@pytest.fixture(scope="module")
def feed() -> pa.Table:
    return pa.concat_tables(Feed(FEED).tables(6_000))


def test_the_simulated_feed_is_understood_as_its_authors_do(feed: pa.Table) -> None:
    guess, known = guess_schema(feed).schema, feed_schema(FEED.embedding_dim)
    assert guess.keys.named() == known.keys.named() | {"propensity": "propensity"}
    spaces = {task.label: known.space(task.name) for task in known.tasks}
    assert {task.label: guess.space(task.name) for task in guess.tasks} == spaces
    for task in known.tasks:
        found = next(other for other in guess.tasks if other.label == task.label)
        assert (found.kind, found.sign) == (task.kind, task.sign)
        if isinstance(task, Duration):
            assert isinstance(found, Duration)
            assert found.unit == task.unit
    assert {f.column: f.side for f in guess.features} == {f.column: f.side for f in known.features}
    for feature in known.features:
        if feature.name != "hour":  # a part of the day may be a code or a number
            assert guess.feature(feature.name).kind == feature.kind


def check_it_is_taken(schema: Schema, table: pa.Table, tables: dict[str, pa.Table]) -> None:
    sides = {side.name: load_side_table(tables[side.name], side, schema) for side in schema.tables}
    problems = validate_log(open_log(table), schema, sides)
    assert [str(problem) for problem in problems if problem.exit_code] == []
    reader = Reader(open_log(table), schema, tables=sides)
    encoders = Encoders.fit(schema, reader.chunks("all"))
    batch = encoders.encode(next(reader.chunks("all")))
    assert len(batch) == table.num_rows
    assert batch.observed_BT is not None
    assert bool(batch.observed_BT.any(0).all())


def test_the_feed_encodes_as_guessed(feed: pa.Table) -> None:
    check_it_is_taken(guess_schema(feed).schema, feed, {})


def test_planted_logs_encode_as_guessed() -> None:
    table = log(ROLES)
    users = pa.table({"uid": [1000 + i for i in range(USERS)], "fans": list(range(USERS))})
    items = pa.table(
        {
            "id": [5_000_000 + i for i in range(ITEMS)],
            "price": [float(i % 50) if i % 7 else None for i in range(ITEMS)],
            "tags": [",".join("abc"[: i % 4]) for i in range(ITEMS)],
        }
    )
    tables = {"users": users, "items": items}
    guess = guess_schema(table, tables=tables)
    assert {"items_price", "items_tags", "fans"} <= set(guess.schema.feature_columns())
    check_it_is_taken(guess.schema, table, tables)


def test_labels_in_words_encode_as_guessed() -> None:
    table = log({"item_id": "item", "hour": "hour", "device": "device"})
    table = table.append_column("clicked", pa.array(["yes" if c else "no" for c in CLICK]))
    guess = guess_schema(table, labels={"click": "clicked", "on_phone": "device=ios"})
    check_it_is_taken(guess.schema, table, {})


CLICK = parts()["click"]


def test_a_log_in_csv(tmp_path: Path) -> None:
    table = log({name: role for name, role in ROLES.items() if role not in ("vector", "past")})
    past = [" ".join(map(str, row)) for row in parts()["past"]]
    table = table.append_column("watch_seq", pa.array(past))
    csv.write_csv(table, tmp_path / "log.csv")
    read = csv.read_csv(tmp_path / "log.csv")
    guess, direct = guess_schema(read).schema, guess_schema(table).schema
    assert (guess.keys, guess.task_names) == (direct.keys, direct.task_names)
    assert {f.name: f.kind for f in guess.features} == {f.name: f.kind for f in direct.features}
    sequence = guess.feature("watch_seq")
    assert isinstance(sequence, Sequence)
    assert (sequence.separator, sequence.shares) == (" ", "item_id")
    reader = Reader(open_log(tmp_path / "log.csv"), guess)
    batch = Encoders.fit(guess, reader.chunks("all")).encode(next(reader.chunks("all")))
    assert len(batch) == table.num_rows
    # The ids of the text are found among the items', which are numbers.
    assert int((batch.ragged["watch_seq"].values_V > 1).sum()) > 0
