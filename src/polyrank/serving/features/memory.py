"""A side table in memory: indexed once, rows taken at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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

    @property
    def table(self) -> pa.Table:
        """All rows, without the key."""
        return self._table

    def fetch(self, ids: Sequence[Id] | pa.Array, deadline: Deadline) -> Fetched:
        """See ``FeatureStore.fetch``."""
        row_N = self.find(ids)
        return Fetched(self.take(row_N), row_N >= 0)

    def find(self, ids: Sequence[Id] | pa.Array) -> NDArray[np.int64]:
        """(N,) The row of each id, -1 where there is none; counted as a call of ``fetch``.

        Raises:
            DataError: As ``fetch``.
        """
        keys = keys_of(ids, self._codec.key_type, self._codec.name)
        row_N = self._index.find(keys)
        hits = int(np.count_nonzero(row_N >= 0))
        unknown = len(row_N) - keys.null_count - hits
        self._counter.add(calls=1, hits=hits, unknown=unknown)
        return row_N

    def take(self, row_N: NDArray[np.int64], names: Sequence[str] | None = None) -> pa.Table:
        """(N rows) Rows by their places, null where -1; of some columns, or all."""
        table = self._table if names is None else self._table.select(names)
        if len(row_N) == 1 and row_N[0] >= 0:  # a user's row, of many columns: taking it is slow
            return table.slice(int(row_N[0]), 1)
        unknown_N = row_N < 0
        return table.take(pa.array(row_N, mask=unknown_N if unknown_N.any() else None))

    def describe(self) -> dict[str, Any]:
        """Kind and number of rows."""
        return {"kind": "memory", "rows": self._table.num_rows}

    def close(self) -> None:
        """Nothing to let go of."""
