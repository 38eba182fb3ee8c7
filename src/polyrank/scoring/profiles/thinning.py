"""Some rows of a stream, each as likely as any other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_SLACK = 2
"""Times as many rows are held between two cuts."""


class Thinned:
    """A uniform sample of the rows that pass through, the same for the same stream.

    Args:
        most: Rows at most.
        seed: Of the choice.
    """

    def __init__(self, most: int, seed: int = 0) -> None:
        self._most = most
        self._random = np.random.default_rng(seed)
        self._keys: list[NDArray[np.float64]] = []
        self._tables: list[pa.Table] = []
        self._below = 1.0
        self.rows = 0
        """That passed through."""

    def watch(self, chunks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The chunks as they are, with a look at each."""
        for chunk in chunks:
            self.add(chunk)
            yield chunk

    def add(self, chunk: pa.Table) -> None:
        """Maybe keep some of its rows."""
        key_B = self._random.random(chunk.num_rows)
        kept_K = np.flatnonzero(key_B < self._below)
        self.rows += chunk.num_rows
        if len(kept_K):
            self._keys.append(key_B[kept_K])
            whole = len(kept_K) == chunk.num_rows
            self._tables.append(chunk if whole else chunk.take(pa.array(kept_K)))
        if sum(map(len, self._keys)) > _SLACK * self._most:
            self._cut()

    def table(self) -> pa.Table | None:
        """The sample, in the order of the stream; null where no chunk came."""
        self._cut()
        return self._tables[0] if self._tables else None

    def _cut(self) -> None:
        if not self._tables:
            return
        key_N = np.concatenate(self._keys)
        table = pa.concat_tables(self._tables, promote_options="permissive")
        if len(key_N) > self._most:
            self._below = float(np.partition(key_N, self._most)[self._most])
            kept_K = np.flatnonzero(key_N < self._below)
            key_N, table = key_N[kept_K], table.take(pa.array(kept_K))
        self._keys, self._tables = [key_N], [table.combine_chunks()]
