"""A log in memory: anything that speaks the Arrow C stream (pyarrow, polars, pandas, duckdb)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from polyrank.data.sources.base import CHUNK_ROWS, Chunk, Need, Part, Source, widest
from polyrank.data.sources.rechunk import rechunk
from polyrank.errors import ConfigError, DataError


class TableSource(Source):
    """Tables in memory, one after the other.

    Args:
        tables: Arrow-compatible tables; a stream that can be read only once is read into memory.
        chunk_rows: Rows of a chunk at most.
    """

    def __init__(self, tables: Sequence[Any], chunk_rows: int = CHUNK_ROWS) -> None:
        self._tables = [as_table(table) for table in tables]
        one = len(tables) == 1
        self._origins = ["table" if one else f"table {place}" for place in range(len(tables))]
        self._chunk_rows = chunk_rows

    def schema(self) -> pa.Schema:
        """Columns and their types."""
        return widest([table.schema for table in self._tables])

    def parts(self) -> Sequence[Part]:
        """The tables."""
        return [
            Part(origin, table.schema, table.num_rows)
            for origin, table in zip(self._origins, self._tables, strict=True)
        ]

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        """Slices of the tables; nothing is copied where a table is contiguous."""
        for origin, table in zip(self._origins, self._tables, strict=True):
            row = 0
            wanted = table if columns is None else table.select(list(columns))
            for piece in rechunk([wanted], self._chunk_rows):
                yield Chunk(piece, origin, row)
                row += piece.num_rows

    def fingerprint(self) -> str:
        """SHA-256 of schema and content, however the table is cut into pieces."""
        digest = hashlib.sha256()
        for table in self._tables:
            with pa.ipc.new_stream(pa.PythonFile(_Sink(digest), mode="w"), table.schema) as stream:
                for start in range(0, table.num_rows, self._chunk_rows):
                    stream.write_table(table.slice(start, self._chunk_rows).combine_chunks())
        return digest.hexdigest()

    def typed(self, needs: Mapping[str, Need]) -> Source:
        """Arrow knows its types."""
        return self

    def each(self) -> Sequence[Source]:
        """The tables together: none of them is damaged."""
        return [self]


class _Sink:
    """A file that keeps only the hash of what is written."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is held."""


def as_table(table: Any) -> pa.Table:
    """A pyarrow table of any Arrow-compatible one.

    Raises:
        ConfigError: It is no such thing.
        DataError: It is, but holds columns that Arrow cannot.
    """
    if isinstance(table, pa.Table):
        return table
    if isinstance(table, pa.RecordBatch):
        return pa.Table.from_batches([table])
    if not hasattr(table, "__arrow_c_stream__"):
        raise ConfigError(
            f"a {type(table).__module__}.{type(table).__name__} is no table",
            hint="Give paths, a pyarrow, polars or pandas table, or anything with "
            "`__arrow_c_stream__`; collect a lazy frame first.",
        )
    try:
        return pa.table(table)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(
            f"Arrow cannot hold it: {' '.join(str(error).split())[:300]}", where="table"
        ) from error
