"""A side table in memory: indexed once, rows taken at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.data.arrays import plain
from polyrank.data.key_index import index_of
from polyrank.serving.deadline import Deadline
from polyrank.serving.features.codec import RowCodec
from polyrank.serving.features.counts import Counter, Counts
from polyrank.serving.features.keys import keys_of
from polyrank.serving.features.store import Fetched, Id


class MemoryStore:
    """The rows of a table; it neither waits nor fails, and is always in time.

    Args:
        table: With the key and the columns of ``codec``; no key is null, none is there twice.
        codec: Says which columns.
    """

    def __init__(self, table: pa.Table, codec: RowCodec) -> None:
        self._codec = codec
        self._table = table.select(codec.schema.names).combine_chunks()
        self._index = index_of(plain(table.column(codec.key)))
        self._counter = Counter()

    @property
    def counts(self) -> Counts:
        """What was counted since it was opened."""
        return self._counter.read()

    def fetch(self, ids: Sequence[Id] | pa.Array, deadline: Deadline) -> Fetched:
        """See ``FeatureStore.fetch``."""
        keys = keys_of(ids, self._codec.key_type, self._codec.name)
        row_N = self._index.find(keys)
        known_N = row_N >= 0
        hits = int(np.count_nonzero(known_N))
        unknown = len(row_N) - keys.null_count - hits
        self._counter.add(calls=1, hits=hits, unknown=unknown)
        if len(row_N) == hits == 1:  # a user's row, of many columns: taking it is slow
            return Fetched(self._table.slice(int(row_N[0]), 1), known_N)
        places = pa.array(row_N, mask=None if hits == len(row_N) else ~known_N)
        return Fetched(self._table.take(places), known_N)

    def describe(self) -> dict[str, Any]:
        """Kind and number of rows."""
        return {"kind": "memory", "rows": self._table.num_rows}

    def close(self) -> None:
        """Nothing to let go of."""
