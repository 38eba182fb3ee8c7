"""Two side tables with columns of every type, and what a plain dictionary says of their ids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.bundle import Bundle, Card, DataDates, describe_tasks
from polyrank.data import Encoders, Reader, load_side_table, open_log
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Embedding,
    Feature,
    Numeric,
    Schema,
    SideTable,
)
from polyrank.schema import Sequence as History
from polyrank.serving.features.codec import RowCodec
from polyrank.serving.features.opening import codec_of
from polyrank.sharing import MMoE

MODEL = ModelConfig(
    embedding_dim=8, sharing=MMoE(num_experts=2, widths=(16,)), towers=Towers(widths=(8,))
)
USER_IDS = [
    "",
    " a",
    "a",
    "A",
    "\0",
    "a\0b",
    "e\u0301",
    "é",
    "\u202eabc",
    "😀",
    "1",
    "01",
    "x" * 600,
    "x" * 601,
    "%s'\";--",
    "*[a-z]?",
    "\r\n$5\r\n",
    "nobody",
]
"""Bytes are compared, so none of these is another."""
ITEM_IDS = [0, -1, 7, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 10, 100, -124]
MISSING = ("nobody", -124)
"""Keys of the tables that stand for missing in a log, which then has no row there."""
ABSENT: dict[str, list[Any]] = {"users": ["b", "x" * 599, "é\0", "0"], "items": [1, 2**53 + 2, -2]}
IDS: dict[str, list[Any]] = {"users": USER_IDS, "items": ITEM_IDS}


def schema() -> Schema:
    """Users by text and items by number."""
    features: tuple[Feature, ...] = (
        Categorical(name="user_id", side="user", missing_values=("nobody",), min_frequency=1),
        Categorical(name="item_id", side="item", missing_values=(-124,), min_frequency=1),
        Numeric(name="age", side="user"),
        Categorical(name="country", side="user", min_frequency=1),
        History(name="history", shares="item_id", side="user"),
        Categorical(name="item_category", side="item", min_frequency=1, missing_values=(-1,)),
        Bag(name="item_tags", side="item", min_frequency=1),
        Bag(name="item_similar", side="item", shares="user_id", separator=","),
        Embedding(name="item_vector", side="item", dim=3),
        Numeric(name="item_quality", side="item"),
    )
    return Schema(
        features=features,
        tasks=(Binary(name="click"),),
        tables=(
            SideTable(name="users", on="user_id", key="id"),
            SideTable(name="items", on="item_id", prefix="item_"),
        ),
    )


@cache
def tables() -> dict[str, pa.Table]:
    """As a bundle has them: every kind of value, null, NaN, empty and long ones."""
    number = len(USER_IDS)
    users = pa.table(
        {
            "id": USER_IDS,
            "age": [None, float("nan"), -0.0, 1e-310, 0.1, *range(number - 5)],
            "country": [None, "", "é", "\0", *("DE" for _ in range(number - 4))],
            "history": [None, [], [None, 7], ITEM_IDS, *([i] * i for i in range(number - 4))],
        }
    )
    number = len(ITEM_IDS)
    items = pa.table(
        {
            "item_id": ITEM_IDS,
            "category": pa.array([None, -1, 2**62, *range(number - 3)], pa.int64()),
            "tags": [None, [], ["a", None, ""], ["é"], *(["t"] * i for i in range(number - 4))],
            "similar": [None, "", "1,2", *("3" for _ in range(number - 3))],
            "vector": [None, *([0.1, i, -i] for i in range(number - 1))],
            "quality": np.linspace(0, 1, number),
        }
    )
    what = schema()
    given = {"users": users, "items": items}
    return {side.name: load_side_table(given[side.name], side, what) for side in what.tables}


def codec(name: str) -> RowCodec:
    """Of one of the tables."""
    side = next(side for side in schema().tables if side.name == name)
    return codec_of(side, tables()[name])


def expected(name: str, ids: Sequence[Any]) -> list[dict[str, Any]]:
    """Row by row from a dictionary: what any store has to say."""
    made = codec(name)
    rows = {row[made.key]: row for row in tables()[name].to_pylist()}
    return [{column: rows.get(id_, {}).get(column) for column in made.schema.names} for id_ in ids]


def same(found: pa.Table, wanted: Sequence[dict[str, Any]]) -> bool:
    """Equal values, where NaN is NaN, -0.0 is not 0.0 and null is neither."""
    return repr(found.to_pylist()) == repr(list(wanted))


@cache
def bundle() -> Bundle:
    """Fitted on a log of these ids, with random weights."""
    what, order = schema(), np.random.default_rng(1)
    log = pa.table(
        {
            "user_id": pa.array(order.choice([*USER_IDS, "b"], 200).tolist()),
            "item_id": order.choice([*ITEM_IDS, 1], 200),
            "click": order.integers(0, 2, 200),
        }
    )
    encoders = Encoders.fit(what, Reader(open_log(log), what, tables=tables()).chunks("all"))
    return Bundle(
        schema=what,
        encoders=encoders,
        model=RankingModel(what, encoders.layout, MODEL, seed=1).eval(),
        model_config=MODEL,
        tables=tables(),
        card=Card(
            tasks=describe_tasks(what), data={"train": DataDates(rows=200, first="1", last="2")}
        ),
    )
