"""Features by id: the side tables of a bundle, joined at request time from wherever they are kept.

>>> import pyarrow as pa
>>> from polyrank.data import load_side_table
>>> from polyrank.schema import Binary, Categorical, Schema, SideTable
>>> from polyrank.serving.deadline import Deadline
>>> side = SideTable(name="items", on="item_id")
>>> schema = Schema(
...     features=(Categorical(name="tag"),), tasks=(Binary(name="click"),), tables=(side,)
... )
>>> items = load_side_table(pa.table({"item_id": [7, 8], "tag": ["news", "music"]}), side, schema)
>>> provider = Provider.open(schema, {"items": items}, {})
>>> found = provider.complete(pa.table({"item_id": [8, 9, 8]}), Deadline.within(0.1))
>>> found.table.column("tag").to_pylist(), found.known["items"].tolist()
(['music', None, 'music'], [True, False, True])

Stores: memory (the bundle's table, or a file), SQLite, LMDB and Redis, filled by ``polyrank
features load`` and, all but memory, behind a time limit and a circuit breaker: where one is slow,
down or wrong, its columns are null, ``degraded`` says so, and the request goes on.
"""

from polyrank.serving.features.counts import Counts
from polyrank.serving.features.filling import fill, held
from polyrank.serving.features.opening import codec_of, open_store, read_side_table
from polyrank.serving.features.provider import Completed, Provider
from polyrank.serving.features.settings import (
    LmdbStoreSettings,
    MemoryStoreSettings,
    RedisStoreSettings,
    SqliteStoreSettings,
    Stores,
    StoreSettings,
    store_settings,
)
from polyrank.serving.features.store import FeatureStore, Fetched, Reason

__all__ = [
    "Completed",
    "Counts",
    "FeatureStore",
    "Fetched",
    "LmdbStoreSettings",
    "MemoryStoreSettings",
    "Provider",
    "Reason",
    "RedisStoreSettings",
    "SqliteStoreSettings",
    "StoreSettings",
    "Stores",
    "codec_of",
    "fill",
    "held",
    "open_store",
    "read_side_table",
    "store_settings",
]
