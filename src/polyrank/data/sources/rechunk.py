"""Chunks of even size: neither thousands of tiny ones nor one that fills the memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

_JOINED_BYTES = 2**26
"""Tables are joined up to here."""


def rechunk(tables: Iterable[pa.Table], chunk_rows: int) -> Iterator[pa.Table]:
    """The same rows in order, in tables of at most ``chunk_rows`` rows.

    Small tables are joined until together they hold at least half as many, or take 64 MiB; empty
    ones yield nothing.
    """
    waiting: list[pa.Table] = []
    num_rows = num_bytes = 0
    for piece in _pieces(tables, chunk_rows):
        if num_rows + piece.num_rows > chunk_rows:
            yield _joined(waiting)
            waiting, num_rows, num_bytes = [], 0, 0
        waiting.append(piece)
        num_rows += piece.num_rows
        num_bytes += piece.nbytes
        if 2 * num_rows >= chunk_rows or num_bytes >= _JOINED_BYTES:
            yield _joined(waiting)
            waiting, num_rows, num_bytes = [], 0, 0
    if waiting:
        yield _joined(waiting)


def _pieces(tables: Iterable[pa.Table], chunk_rows: int) -> Iterator[pa.Table]:
    for table in tables:
        for start in range(0, table.num_rows, chunk_rows):
            yield table.slice(start, chunk_rows)


def _joined(tables: list[pa.Table]) -> pa.Table:
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables).combine_chunks()
