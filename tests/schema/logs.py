"""Small logs with planted roles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.schema import Schema, guess_schema

ROWS, USERS, ITEMS = 800, 40, 120


def null_unless(values: Any, kept: Any) -> pa.Array:
    """``values``, null where ``kept`` is 0."""
    return pa.array(np.asarray(values), mask=~np.asarray(kept, dtype=bool))


def parts(seed: int = 0, rows: int = ROWS) -> dict[str, Any]:
    """Columns of every role, by what they are; callers name them."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, USERS, rows), rng.integers(0, ITEMS, rows)
    click = (rng.random(rows) < 0.4).astype(np.int8)
    buy = click * (rng.random(rows) < 0.3).astype(np.int8)
    ages, prices = rng.integers(18, 80, USERS), np.round(rng.lognormal(3, 1, ITEMS), 2)
    genres = [
        "|".join(sorted(rng.choice(list("abcdefg"), k, False))) for k in rng.integers(1, 4, ITEMS)
    ]
    return {
        "user": user + 1000,
        "item": item + 5_000_000,
        "request": np.arange(rows) // 8 + 77,
        "time": 1_700_000_000_000 + np.sort(rng.integers(0, 6 * 86_400_000, rows)),
        "position": np.arange(rows) % 8 + 1,
        "propensity": rng.uniform(0.05, 1.0, rows),
        "weight": rng.uniform(0.5, 2.0, rows),
        "click": click,
        "buy": buy,
        "buy_if_click": null_unless(buy, click),
        "like": (rng.random(rows) < 0.1).astype(np.int8),
        "report": (rng.random(rows) < 0.05).astype(np.int8),
        "seconds": np.round(click * rng.lognormal(3, 1, rows), 1),
        "milliseconds": (click * rng.lognormal(9.5, 1, rows)).astype(np.int64),
        "age": ages[user],
        "city": np.array([f"city{c}" for c in range(9)])[user % 9],
        "price": prices[item],
        "genres": np.array(genres)[item].tolist(),
        "device": rng.choice(["ios", "android", "web"], rows),
        "hour": rng.integers(0, 24, rows),
        "real": rng.normal(size=rows),
        "count": rng.poisson(3000 * (rng.random(rows) < 0.4)),
        "vector": rng.normal(size=(rows, 4)).tolist(),
        "past": [
            (rng.integers(0, ITEMS, k) + 5_000_000).tolist() for k in rng.integers(0, 6, rows)
        ],
        "noise_words": [f"title {i} {rng.integers(0, 10**9)}" for i in range(rows)],
    }


def log(names: dict[str, str], seed: int = 0, rows: int = ROWS) -> pa.Table:
    """A log whose columns are ``names`` (column to part)."""
    made = parts(seed, rows)
    return pa.table({column: made[part] for column, part in names.items()})


BASIC = {
    "user_id": "user",
    "item_id": "item",
    "time_ms": "time",
    "click": "click",
    "like": "like",
    "age": "age",
    "price": "price",
}


def guessed(**columns: Any) -> tuple[Schema, dict[str, str]]:
    """Schema and notes of the basic log with ``columns`` added or, where None, removed."""
    table = log(BASIC)
    for name, values in columns.items():
        if name in table.column_names:
            table = table.drop_columns([name])
        if values is not None:
            table = table.append_column(name, pa.array(values))
    guess = guess_schema(table)
    return guess.schema, guess.notes


def feature_of(name: str, values: Any, **rest: Any) -> Any:
    """The feature that a further column becomes."""
    return guessed(**{name: values}, **rest)[0].feature(name)


def ignored(name: str, values: Any, **rest: Any) -> str:
    """The note on a column that must be neither feature nor label."""
    schema, notes = guessed(**{name: values}, **rest)
    assert name not in schema.feature_columns()
    assert name not in schema.label_columns()
    return notes[f"ignored.{name}"]


RNG = np.random.default_rng(5)
P = parts()
