"""Logs of users who are alike within and differ between, with or without a change planted."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.bundle import Bundle, Card, describe_tasks
from polyrank.data import Encoders, Reader, open_log
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.schema import Bag, Binary, Categorical, Embedding, Keys, Numeric, Schema, Sequence
from polyrank.scoring.profiles import profile_of
from polyrank.sharing import SharedBottom

SCHEMA = Schema(
    features=(
        Categorical(name="country", side="user"),
        Numeric(name="activity", side="user"),
        Sequence(name="history", side="user", shares="item"),
        Categorical(name="item", side="item", min_frequency=1),
        Categorical(name="category", side="item"),
        Numeric(name="length", side="item"),
        Bag(name="tags", side="item"),
        Embedding(name="vector", side="item", dim=2),
        Categorical(name="surface"),
        Numeric(name="hour"),
        Categorical(name="place", side="bias"),
    ),
    tasks=(Binary(name="click"), Binary(name="buy", within="click")),
    keys=Keys(user="user", item="item", request="request"),
)
OUTPUTS = ("predicted_click", "predicted_buy")
ROWS = 10
"""Of a user, on average."""


def log(seed: int, users: int, rows: int = ROWS, **changes: Any) -> pa.Table:
    """About ``rows`` rows for each user; ``changes`` make columns anew, given how many rows.

    Predictions and labels agree: the chance of a click differs between users, and is predicted.
    """
    random = np.random.default_rng([7, seed])
    user_N = np.repeat(np.arange(users), 1 + random.poisson(rows - 1, users))
    size = len(user_N)
    lean_N = random.normal(-1.0, 1.0, users)[user_N] + random.normal(0, 0.7, size)
    chance_N = 1 / (1 + np.exp(-lean_N))
    clicked_N = random.random(size) < chance_N
    bought_N = clicked_N & (random.random(size) < 0.3)
    length_N = random.normal(size=size)
    histories = [random.integers(0, 300, random.poisson(5)).tolist() for _ in range(users)]
    tags = np.array(["a", "b", "c", "d"])
    columns = {
        "user": user_N + 1_000_000 * seed,
        "request": np.arange(size) // 5 + 1_000_000 * seed,
        "item": random.integers(0, 300, size),
        "country": random.choice(list("pqrstu"), users)[user_N].tolist(),
        "activity": random.lognormal(0, 1, users)[user_N],
        "history": pa.array([histories[user] for user in user_N], pa.list_(pa.int64())),
        "category": [f"c{each}" for each in random.choice(8, size, p=np.arange(8, 0, -1) / 36)],
        "length": pa.array(length_N, mask=random.random(size) < 0.05),
        "tags": [tags[row].tolist() for row in random.random((size, 4)) < 0.4],
        "vector": pa.array(random.normal(size=(size, 2)).tolist(), pa.list_(pa.float32(), 2)),
        "surface": random.choice(["home", "search"], size, p=[0.8, 0.2]).tolist(),
        "hour": random.integers(0, 24, size).astype(float),
        "place": random.integers(0, 9, size),
        "predicted_click": chance_N,
        "predicted_buy": np.full(size, 0.3) + random.normal(0, 0.01, size),
        "click": clicked_N.astype(float),
        "buy": bought_N.astype(float),
    }
    return pa.table({**columns, **{name: change(size) for name, change in changes.items()}})


def few_columns(seed: int, users: int, rows: int) -> pa.Table:
    """A log that is quick to draw, of a user's and a row's features and a prediction."""
    random = np.random.default_rng([8, seed])
    user_N = np.repeat(np.arange(users), 1 + random.poisson(rows - 1, users))
    size = len(user_N)
    lean_U = random.normal(-1.0, 1.0, users)
    return pa.table(
        {
            "user": user_N + 1_000_000 * seed,
            "country": random.choice(np.array(list("pqrstu")), users)[user_N],
            "activity": random.lognormal(0, 1, users)[user_N],
            "category": random.choice(np.array(list("abcdefgh")), size, p=np.arange(8, 0, -1) / 36),
            "hour": random.integers(0, 24, size).astype(float),
            "predicted_click": lean_U[user_N] + random.normal(0, 0.7, size),
        }
    )


@cache
def reference() -> pa.Table:
    return log(0, 400)


@cache
def bundle() -> Bundle:
    """Fitted encoders, random weights, and the profile of the reference."""
    model = ModelConfig(
        embedding_dim=4, sharing=SharedBottom(widths=(8,)), towers=Towers(widths=(8,))
    )
    encoders = Encoders.fit(SCHEMA, Reader(open_log(reference()), SCHEMA).chunks("all"))
    found = Bundle(
        schema=SCHEMA,
        encoders=encoders,
        model=RankingModel(SCHEMA, encoders.layout, model, seed=0).eval(),
        model_config=model,
        tables={},
        card=Card(tasks=describe_tasks(SCHEMA), data={}),
    )
    rows = pa.concat_tables(
        Reader(open_log(reference()), SCHEMA, extra=OUTPUTS).chunks("all")
    ).combine_chunks()
    profile = profile_of(rows, SCHEMA, on="yesterday", outputs=OUTPUTS, encoders=encoders)
    return dataclasses.replace(found, profile=profile)
