"""Bringing the rows of each request together: an encoded log written once more, by request.

The rows are dealt into parts of a file, all rows of a request into one, by the hash of its code;
then the rows of each part are sorted in memory by their request, in the order of the log within
one. Memory holds a window of rows or a part, however long the log. The bytes follow from the log.

Shapes: N rows in memory, P parts, K = 1 + ragged features: blocks of a part (records, then ids).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.data.hashing import mix
from polyrank.data.loader import Cursor, Load, windows_of
from polyrank.data.records import RecordFormat, Rows
from polyrank.data.requests import lengths_of_requests
from polyrank.data.shards import Shard, bytes_of, empty_rows, fill_rows
from polyrank.evaluation import NO_GROUP
from polyrank.storage.failures import storage_errors

_WINDOW_BYTES = 32 << 20
_ID_BYTES = 4

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Gathered:
    """What was written."""

    shards: tuple[Shard, ...]
    longest: int
    """Rows of the longest request; 0 without rows."""


def gather(
    shards: Sequence[Shard],
    load: Load,
    form: RecordFormat,
    descriptor: int,
    *,
    part_bytes: int,
    where: str,
) -> Gathered:
    """Writes all rows into an empty file, those of a request one after the other.

    Args:
        shards: Of the log.
        load: Their rows.
        form: Of the records; it has the codes of requests.
        descriptor: Open for reading and writing.
        part_bytes: Of a shard, about: a long request makes it larger.
        where: The file's name, for messages.

    Raises:
        StorageError: The disk refused.
    """
    total = sum(shard.num_bytes for shard in shards)
    num_parts = max(1, -(-total // part_bytes))
    blocks_PK = np.zeros((num_parts, 1 + len(form.layout.ragged)), dtype=np.int64)
    for dealt in _deal(shards, load, form, num_parts):
        blocks_PK += dealt.counts_PK
    widths_K = np.array([form.row_bytes] + [_ID_BYTES] * (blocks_PK.shape[1] - 1))
    ends_PK = np.cumsum(blocks_PK * widths_K).reshape(blocks_PK.shape)
    at_PK = ends_PK - blocks_PK * widths_K
    with storage_errors("write the encoded log", where):
        for dealt in _deal(shards, load, form, num_parts):
            dealt.write(descriptor, at_PK)
            at_PK += dealt.counts_PK * widths_K
        return _sorted(descriptor, form, blocks_PK)


@dataclass(frozen=True)
class _Dealt:
    """Rows of a window, by part."""

    rows: Rows
    counts_PK: Ints
    """Rows, and ids of each ragged feature."""

    def write(self, descriptor: int, at_PK: Ints) -> None:
        """To these places in the file."""
        blocks: list[NDArray[Any]] = [self.rows.records, *self.rows.values]
        for place, block in enumerate(blocks):
            stops_P = np.cumsum(self.counts_PK[:, place])
            for part in np.flatnonzero(self.counts_PK[:, place]):
                start = stops_P[part] - self.counts_PK[part, place]
                buffer = bytes_of(block[start : stops_P[part]])
                _write_at(descriptor, buffer, int(at_PK[part, place]))


def _deal(
    shards: Sequence[Shard], load: Load, form: RecordFormat, num_parts: int
) -> Iterator[_Dealt]:
    """All rows, a window at a time."""
    in_order = Cursor(batch_size=1, seed=0, epoch=0, shuffle=False)
    for window in windows_of(shards, in_order, _WINDOW_BYTES):
        rows = load(window.shards)
        part_N = _parts(form.codes(rows, "request"), window.start, num_parts)
        order_N = part_N.argsort(kind="stable")
        weights = [None, *(lengths_N.astype(float) for lengths_N in form.lengths(rows))]
        counts = [np.bincount(part_N, each, minlength=num_parts) for each in weights]
        taken = form.take(rows, form.starts_of(rows), order_N)
        yield _Dealt(taken, np.stack(counts, 1).astype(np.int64))


def _parts(codes_N: Ints, first_row: int, num_parts: int) -> Ints:
    """The part of each row: one for all rows of a request, any for a row without one."""
    place_N = np.arange(first_row, first_row + len(codes_N))
    key_N = np.where(codes_N == NO_GROUP, place_N, codes_N).view(np.uint64)
    return (mix(key_N) % np.uint64(num_parts)).astype(np.int64)


def _sorted(descriptor: int, form: RecordFormat, blocks_PK: Ints) -> Gathered:
    """Sorts each part in its place; parts without rows are no shards."""
    shards: list[Shard] = []
    longest, offset = 0, 0
    for num_rows, *num_values in blocks_PK[blocks_PK[:, 0] > 0].tolist():
        num_bytes = num_rows * form.row_bytes + _ID_BYTES * sum(num_values)
        shard = Shard(num_rows, offset, tuple(num_values), num_bytes, 0)
        rows = empty_rows([shard], form)
        fill_rows(descriptor, rows, offset)
        order_N = form.codes(rows, "request").argsort(kind="stable")
        rows = form.take(rows, form.starts_of(rows), order_N)
        longest = max(longest, int(lengths_of_requests(form.codes(rows, "request")).max()))
        blocks: list[NDArray[Any]] = [rows.records, *rows.values]
        for block in blocks:
            _write_at(descriptor, bytes_of(block), offset)
            offset += block.nbytes
        crc32 = fill_rows(descriptor, rows, shard.offset)
        shards.append(Shard(num_rows, shard.offset, shard.num_values, num_bytes, crc32))
    return Gathered(tuple(shards), longest)


def _write_at(descriptor: int, buffer: memoryview, offset: int) -> None:
    while len(buffer):
        written = os.pwrite(descriptor, buffer, offset)
        buffer, offset = buffer[written:], offset + written
