"""Chunks of even size: neither thousands of tiny ones nor one that fills the memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa


def rechunk(tables: Iterable[pa.Table], chunk_rows: int) -> Iterator[pa.Table]:
    """The same rows in order, in contiguous tables of at most ``chunk_rows`` rows.

    Small tables are joined until together they hold at least half as many; rows of empty tables
    yield nothing.
    """
    waiting: list[pa.Table] = []
    num_waiting = 0
    for table in tables:
        for start in range(0, table.num_rows, chunk_rows):
            piece = table.slice(start, chunk_rows)
            if num_waiting + piece.num_rows > chunk_rows:
                yield _joined(waiting)
                waiting, num_waiting = [], 0
            waiting.append(piece)
            num_waiting += piece.num_rows
            if 2 * num_waiting >= chunk_rows:
                yield _joined(waiting)
                waiting, num_waiting = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(tables: list[pa.Table]) -> pa.Table:
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables).combine_chunks()
