"""A small log with every kind of feature, task and key, as rows of Python values."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Duration,
    Embedding,
    Keys,
    Numeric,
    Regression,
    Schema,
)
from polyrank.schema import Sequence as Watched

NUM_ROWS = 40
START_MS = 1_650_000_000_000
DAY_MS = 86_400_000

TYPES: dict[str, Any] = {
    "user_id": pa.int64(),
    "item_id": pa.string(),
    "request_id": pa.int64(),
    "time_ms": pa.int64(),
    "position": pa.int32(),
    "propensity": pa.float64(),
    "weight": pa.float64(),
    "age": pa.float64(),
    "city": pa.string(),
    "tags": pa.string(),
    "history": pa.list_(pa.string()),
    "vec": pa.list_(pa.float32()),
    "click": pa.int64(),
    "like": pa.float64(),
    "watch_ms": pa.float64(),
    "rating": pa.float64(),
    "asked": pa.int64(),
}

FEATURES = (
    Categorical(name="user", column="user_id", side="user"),
    Categorical(name="item", column="item_id", side="item"),
    Numeric(name="age", side="user"),
    Categorical(name="city", side="user"),
    Bag(name="tags", side="item", separator="|"),
    Watched(name="history", side="user", shares="item", separator="|"),
)
VECTOR = Embedding(name="vec", side="item", dim=3)
TASKS = (
    Binary(name="click"),
    Binary(name="like", within="click"),
    Duration(name="watch", label="watch_ms", unit="ms", limit=3600.0),
    Regression(name="rating", mask="asked", lower=1.0, upper=5.0),
)
KEYS = Keys(
    user="user_id",
    item="item_id",
    request="request_id",
    time="time_ms",
    position="position",
    propensity="propensity",
    weight="weight",
)


def schema_of(*, vector: bool = True, **changes: Any) -> Schema:
    """The schema of the log; ``vector=False`` where the format holds none."""
    features = (*FEATURES, VECTOR) if vector else FEATURES
    parts = {"features": features, "tasks": TASKS, "keys": KEYS, **changes}
    return Schema(**parts)


def columns_of(num_rows: int = NUM_ROWS) -> dict[str, list[Any]]:
    """The log: every row clean, and every row with a click observed."""
    rows = range(num_rows)
    click = [int(row * 7 % 10 < 3) for row in rows]
    return {
        "user_id": [100 + row % 7 for row in rows],
        "item_id": [f"item-{row % 11}" for row in rows],
        "request_id": [row // 4 for row in rows],
        "time_ms": [START_MS + row * DAY_MS // 4 for row in rows],
        "position": [1 + row % 4 for row in rows],
        "propensity": [0.25 + 0.01 * (row % 10) for row in rows],
        "weight": [1.0 + row % 2 for row in rows],
        "age": [None if row == 5 else 18.5 + row for row in rows],
        "city": [None if row == 6 else ["Oslo", "Rome", "NA"][row % 3] for row in rows],
        "tags": [None if row == 4 else "|".join("abc"[: row % 4]) for row in rows],
        "history": [[f"item-{(row + k) % 11}" for k in range(row % 3)] for row in rows],
        "vec": [None if row == 8 else [0.5, -1.0, float(row)] for row in rows],
        "click": click,
        "like": [float(row % 2) if click[row] else None for row in rows],
        "watch_ms": [None if row == 9 else 250.0 * (row * 17 % 23) for row in rows],
        "rating": [1.0 + row % 5 for row in rows],
        "asked": [int(row % 2 == 0) for row in rows],
    }


def table_of(columns: Mapping[str, Sequence[Any]], types: Mapping[str, Any] = TYPES) -> pa.Table:
    """The columns as a pyarrow table; those without a type get what pyarrow infers."""
    return pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()})


def write_parquet(path: Path, table: pa.Table, **options: Any) -> Path:
    """With page checksums, as this project recommends."""
    pq.write_table(table, path, write_page_checksum=True, **options)
    return path


def write_csv(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    """Null as nothing, lists joined by |."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(map(_cell, values) for values in columns.values()), strict=True))
    return path


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, list):
        return "|".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else value
