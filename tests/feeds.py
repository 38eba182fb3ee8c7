"""A small simulated log and an untrained bundle of it, for rooms above the data."""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa

from polyrank.bundle import Bundle, Card, DataDates, describe_tasks
from polyrank.data import Encoders, Reader, load_side_table, open_log
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.schema import Schema, SideTable
from polyrank.sharing import MMoE
from polyrank.simulation import Feed, FeedConfig, feed_schema, observed

ROWS = 3000
CONFIG = FeedConfig(num_users=120, num_items=90)
MODEL = ModelConfig(
    embedding_dim=8, sharing=MMoE(num_experts=3, widths=(32, 16)), towers=Towers(widths=(16,))
)


@cache
def log() -> pa.Table:
    """An observed log, without truth."""
    return observed(pa.concat_tables(list(Feed(CONFIG).tables(ROWS))))


@cache
def items() -> pa.Table:
    """The item features, one row an item."""
    side = joined_schema().tables[0]
    return load_side_table(Feed(CONFIG).items(), side, joined_schema())


def schema() -> Schema:
    """The feed's schema."""
    return feed_schema(CONFIG.embedding_dim)


def joined_schema() -> Schema:
    """The same, with the item features in a side table."""
    return schema().model_copy(update={"tables": (SideTable(name="items", on="item_id"),)})


def bare_log() -> pa.Table:
    """The log without the columns of the items."""
    drop = [name for name in items().column_names if name != "item_id"]
    return log().drop_columns(drop)


@cache
def bundle(joined: bool = False) -> Bundle:
    """Fitted encoders and random weights."""
    what = joined_schema() if joined else schema()
    tables: dict[str, Any] = {"items": items()} if joined else {}
    source = open_log(bare_log() if joined else log())
    encoders = Encoders.fit(what, Reader(source, what, tables=tables).chunks("all"))
    model = RankingModel(what, encoders.layout, MODEL, seed=1).eval()
    return Bundle(
        schema=what,
        encoders=encoders,
        model=model,
        model_config=MODEL,
        tables=tables,
        card=Card(
            tasks=describe_tasks(what), data={"train": DataDates(rows=ROWS, first="1", last="2")}
        ),
    )
