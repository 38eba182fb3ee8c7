"""What is read of a log that has only some of the columns."""

from __future__ import annotations

import pyarrow as pa
import pytest

from polyrank.data import Quarantine, Reader, open_log
from polyrank.errors import ConfigError
from polyrank.monitoring.part_schema import left_out, readable
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Duration,
    Keys,
    LongDwell,
    Maturity,
    Numeric,
    Regression,
    Schema,
    Sequence,
    SideTable,
    WatchThrough,
)
from polyrank.scoring.labels import cut_at

LATE = Maturity(event_time="bought_at", window=1, observed_until=9)
SCHEMA = Schema(
    features=(
        Categorical(name="item"),
        Sequence(name="seen", shares="item"),
        Bag(name="tags"),
        Numeric(name="age"),
        Numeric(name="price"),
        Categorical(name="place", side="bias"),
    ),
    tasks=(
        Binary(name="click", mask="asked"),
        Duration(name="watch", within="click", length="video", censored="cut"),
        Binary(name="through", within="click", rule=WatchThrough(of="watch", share=0.9)),
        Binary(name="long", within="click", rule=LongDwell(of="watch", by=("item",))),
        Binary(name="buy", within="click", maturity=LATE),
        Regression(name="stars", within="buy"),
        Binary(name="like", examined_by="position"),
    ),
    keys=Keys(user="user", item="item", time="at", position="position", weight="mass"),
    tables=(SideTable(name="items", on="item"),),
    deduplicate={"columns": ()},  # type: ignore[arg-type]
)
TABLES = {"items": pa.table({"item": [1, 2], "price": [1.0, 2.0]})}
CLICKED = ["click", "asked"]
WATCHED = [*CLICKED, "watch", "cut", "video"]


@pytest.mark.parametrize(
    ("given", "tasks"),
    [
        ([], []),
        (["click"], []),
        (CLICKED, ["click"]),
        ([*CLICKED, "watch"], ["click"]),
        ([*CLICKED, "watch", "cut"], ["click", "watch"]),
        (["watch", "cut", "video"], []),
        (WATCHED, ["click", "watch", "through"]),
        ([*WATCHED, "item"], ["click", "watch", "through", "long"]),
        ([*CLICKED, "buy", "bought_at"], ["click"]),
        ([*CLICKED, "buy", "bought_at", "at"], ["click", "buy"]),
        ([*CLICKED, "stars"], ["click"]),
        ([*CLICKED, "buy", "bought_at", "at", "stars"], ["click", "buy", "stars"]),
        (["like"], ["like"]),
    ],
)
def test_tasks_whose_labels_mean_something(given: list[str], tasks: list[str]) -> None:
    found = readable(SCHEMA, given, TABLES, labels=True)
    assert list(found.task_names) == tasks
    assert readable(SCHEMA, given, TABLES, labels=False).tasks == ()
    assert found.keys.time == ("at" if "buy" in tasks else None)
    assert found.keys.user is None


def test_features_that_are_there_or_can_be_joined() -> None:
    found = readable(SCHEMA, ["item", "seen", "tags", "place"], TABLES, labels=False)
    assert [feature.name for feature in found.features] == ["item", "seen", "tags", "price"]
    assert left_out(SCHEMA, found) == ("age",)
    served = readable(SCHEMA, ["item", "price"], TABLES, labels=False)
    assert served.tables == (), "what was served is not replaced"
    assert [feature.name for feature in served.features] == ["item", "price"]
    lone = readable(SCHEMA, ["seen", "age"], TABLES, labels=False)
    assert [feature.name for feature in lone.features] == ["age"]


def test_late_labels_are_known_until_they_were_looked_at() -> None:
    later = cut_at(SCHEMA, 99).task("buy")
    assert isinstance(later, Binary)
    assert later.maturity is not None
    assert (later.maturity.observed_until, later.maturity.window) == (99, 1)
    assert cut_at(SCHEMA, None) is SCHEMA
    with pytest.raises(ConfigError, match="must be of one kind"):
        cut_at(SCHEMA, "2022-05-01")


def test_a_log_is_read_by_what_is_left() -> None:
    log = pa.table(
        {
            "item": [1, 9],
            "user": [None, "u"],
            "like": [1, 0],
            "click": [1, 1],
            "asked": [1, 0],
            "watch": [3.0, 4.0],
            "cut": [0, 0],
            "mass": [1.0, 2.0],
        }
    )
    schema = readable(SCHEMA, log.column_names, TABLES, labels=True)
    assert schema.keys.weight == "mass"
    reader = Reader(open_log(log), schema, tables=TABLES, quarantine=Quarantine(max_share=1.0))
    (chunk,) = reader.chunks("all")
    assert chunk["price"].to_pylist() == [1.0, None]
    assert chunk.num_rows == 2, "a row without a user is a row"
