"""Logs of users who are alike within and differ between, with or without a change planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.bundle import Bundle, Profile
from polyrank.schema import Bag, Binary, Categorical, Keys, Numeric, Schema, Sequence
from polyrank.scoring.profiles import profile_of

SCHEMA = Schema(
    features=(
        Categorical(name="country", side="user"),
        Numeric(name="activity", side="user"),
        Sequence(name="history", side="user", shares="item"),
        Categorical(name="item", side="item"),
        Categorical(name="category", side="item"),
        Numeric(name="length", side="item"),
        Bag(name="tags", side="item"),
        Categorical(name="surface"),
        Numeric(name="hour"),
    ),
    tasks=(Binary(name="click"), Binary(name="buy", within="click")),
    keys=Keys(user="user", item="item", request="request"),
)
OUTPUTS = ("predicted_click", "predicted_buy")


def log(seed: int, users: int, rows: int = 10, **changes: Any) -> pa.Table:
    """About ``rows`` rows for each user; ``changes`` stand for what they would be.

    Predictions and labels agree: the chance of a click differs between users, and is predicted.
    """
    random = np.random.default_rng([7, seed])
    count_U = 1 + random.poisson(rows - 1, users)
    user_N = np.repeat(np.arange(users), count_U)
    size = len(user_N)
    lean_U = random.normal(-1.5, 1.0, users)
    chance_N = 1 / (1 + np.exp(-(lean_U[user_N] + random.normal(0, 0.7, size))))
    clicked_N = random.random(size) < chance_N
    category_N = random.choice(8, size, p=np.arange(8, 0, -1) / 36)
    history_U = [random.integers(0, 300, 1 + random.poisson(5)).tolist() for _ in range(users)]
    tags = np.array(["a", "b", "c", "d", "e"])
    columns = {
        "user": pa.array(user_N + 1_000_000 * seed),
        "request": pa.array(np.arange(size) // 5 + 1_000_000 * seed),
        "item": pa.array(random.integers(0, 300, size)),
        "country": pa.array(random.choice(list("pqrstu"), users)[user_N].tolist()),
        "activity": pa.array(random.lognormal(0, 1, users)[user_N]),
        "history": pa.array([history_U[user] for user in user_N]),
        "category": pa.array([f"c{each}" for each in category_N]),
        "length": pa.array(np.where(random.random(size) < 0.05, np.nan, random.normal(size=size))),
        "tags": pa.array([tags[random.random(5) < 0.4].tolist() for _ in range(size)]),
        "surface": pa.array(random.choice(["home", "search"], size, p=[0.8, 0.2])),
        "hour": pa.array(random.integers(0, 24, size).astype(float)),
        "predicted_click": pa.array(chance_N),
        "predicted_buy": pa.array(chance_N * 0.3),
        "click": pa.array(clicked_N.astype(float)),
        "buy": pa.array((clicked_N & (random.random(size) < chance_N * 0.3)).astype(float)),
    }
    return pa.table({**columns, **{name: change(size) for name, change in changes.items()}})


def profile(table: pa.Table) -> Profile:
    """Of a log."""
    plain = table.set_column(
        table.schema.get_field_index("length"),
        "length",
        pa.array(table["length"].to_numpy(), from_pandas=True),
    )
    return profile_of(plain, SCHEMA, on="yesterday", outputs=OUTPUTS)


__all__ = ["OUTPUTS", "SCHEMA", "Bundle", "log", "profile"]
