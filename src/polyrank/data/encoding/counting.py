"""Counting ids over a stream: exact counts in memory proportional to the distinct ids."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.data.encoding.ids import Kind, check_kind, kind_of

_BUFFER = 1 << 16
"""Counts held back before they are merged, at least."""


class IdCounter:
    """How often each id was seen. Counts do not depend on the order or the size of the chunks.

    Args:
        where: What the ids are, for messages.
    """

    def __init__(self, where: str) -> None:
        self.kind: Kind | None = None
        self._where = where
        self._ids: list[pa.Array] = []
        self._counts: list[NDArray[np.int64]] = []
        self._num_merged = 0
        self._num_waiting = 0

    def add(self, ids: pa.Array) -> None:
        """Counts a chunk (int64, large_binary or null); nulls are no ids.

        Raises:
            DataError: The kind of ids differs from earlier chunks.
        """
        found = kind_of(ids)
        check_kind(found, self.kind, self._where)
        if found is None:
            return
        self.kind = found
        values, counts = pc.value_counts(ids).flatten()
        if ids.null_count:
            counts = counts.filter(values.is_valid())
            values = values.drop_null()
        self._ids.append(values)
        self._counts.append(counts.to_numpy())
        self._num_waiting += len(values)
        if self._num_waiting > max(_BUFFER, self._num_merged):
            self._merge()

    def most_frequent(self, *, min_frequency: int, max_size: int | None = None) -> pa.Array:
        """The ids seen at least ``min_frequency`` times, by falling frequency.

        Ties go by value, strings by their bytes. At most ``max_size`` of them.
        """
        if self.kind is None:
            return pa.nulls(0)
        self._merge()
        counted = pa.table({"id": self._ids[0], "count": self._counts[0]})
        kept = counted.filter(pc.field("count") >= min_frequency)
        order = pc.sort_indices(kept, sort_keys=[("count", "descending"), ("id", "ascending")])
        return kept["id"].take(order[:max_size]).combine_chunks()

    def _merge(self) -> None:
        encoded = pa.concat_arrays(self._ids).dictionary_encode()
        # Sums of float64 are exact: no count reaches 2^53.
        sums = np.bincount(
            encoded.indices.to_numpy(),
            weights=np.concatenate(self._counts),
            minlength=len(encoded.dictionary),
        )
        self._ids, self._counts = [encoded.dictionary], [sums.astype(np.int64)]
        self._num_merged, self._num_waiting = len(encoded.dictionary), 0
