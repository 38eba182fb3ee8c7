"""The file of encoded shards and its index: written once, checked whenever it is read.

A shard is its records, then the int32 ids of each ragged feature. The index holds for each shard
its rows, the ids of each ragged feature and a CRC-32, and a CRC-32 of itself.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt, ValidationError

from polyrank.data.records import RecordFormat, Rows
from polyrank.errors import ArtefactError
from polyrank.schema import Declared
from polyrank.storage import jsonio
from polyrank.storage.failures import storage_errors

_HINT = "delete the directory of the cache; it is built again"


@dataclass(frozen=True)
class Shard:
    """Where a shard lies in the file, and what it holds."""

    num_rows: int
    offset: int
    num_values: tuple[int, ...]
    """Ids of each ragged feature."""
    num_bytes: int
    crc32: int


class Entry(Declared):
    """One shard in the index."""

    rows: PositiveInt
    values: tuple[NonNegativeInt, ...]
    """Ids of each ragged feature."""
    crc32: NonNegativeInt


class Index(Declared):
    """The content of the index file, apart from its checksum."""

    format: Literal[1] = 1
    fingerprint: str
    data: str
    """The name of the file of shards."""
    groups: tuple[str, ...]
    signature: dict[str, Any]
    """Of the record format."""
    entries: tuple[Entry, ...]
    longest_request: NonNegativeInt | None = None
    """Rows of the longest request, where the rows of each stand together in one shard."""

    def to_bytes(self) -> bytes:
        """The index file."""
        body = self.model_dump(mode="json", exclude_none=True)
        return jsonio.dumps({"index": body, "crc32": _checksum(body)})

    def shards(self, row_bytes: int) -> list[Shard]:
        """Where each shard lies."""
        shards: list[Shard] = []
        offset = 0
        for entry in self.entries:
            size = entry.rows * row_bytes + 4 * sum(entry.values)
            shards.append(Shard(entry.rows, offset, entry.values, size, entry.crc32))
            offset += size
        return shards


def parse_index(content: bytes, where: str) -> Index:
    """The index of these bytes.

    Raises:
        ArtefactError: Not an index of this format, or altered.
    """
    tree = jsonio.loads(content, where=where)
    body = tree.get("index") if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or tree.get("crc32") != _checksum(body):
        raise ArtefactError("the index was altered", where=where, hint=_HINT)
    try:
        return Index.model_validate(body)
    except ValidationError as error:
        raise ArtefactError(f"not an index: {error}", where=where, hint=_HINT) from error


def write_shard(descriptor: int, rows: Rows, where: str) -> int:
    """Appends the rows to an open file; their CRC-32.

    Raises:
        StorageError: The disk refused.
    """
    crc = 0
    with storage_errors("write the encoded log", where):
        for buffer in _buffers(rows):
            crc = zlib.crc32(buffer, crc)
            while len(buffer):
                buffer = buffer[os.write(descriptor, buffer) :]
    return crc


def read_shards(descriptor: int, shards: Sequence[Shard], form: RecordFormat, where: str) -> Rows:
    """The rows of these shards, in their order, in fresh memory; read, never mapped.

    Raises:
        ArtefactError: The file is shorter than its index says, or was altered.
        StorageError: The disk refused.
    """
    rows = empty_rows(shards, form)
    at_row, at_value = 0, [0] * len(rows.values)
    with storage_errors("read the encoded log", where):
        for shard in shards:
            part = Rows(
                rows.records[at_row : at_row + shard.num_rows],
                tuple(
                    ids[at : at + count]
                    for ids, at, count in zip(rows.values, at_value, shard.num_values, strict=True)
                ),
            )
            at_row += shard.num_rows
            at_value = [a + n for a, n in zip(at_value, shard.num_values, strict=True)]
            if fill_rows(descriptor, part, shard.offset) != shard.crc32:
                raise ArtefactError("the encoded log was altered", where=where, hint=_HINT)
    return rows


def empty_rows(shards: Sequence[Shard], form: RecordFormat) -> Rows:
    """Memory for the rows of these shards."""
    num_ragged = len(form.layout.ragged)
    sizes = [sum(shard.num_values[place] for shard in shards) for place in range(num_ragged)]
    return Rows(
        np.empty((sum(shard.num_rows for shard in shards), form.row_bytes), dtype=np.uint8),
        tuple(np.empty(size, dtype=np.int32) for size in sizes),
    )


def fill_rows(descriptor: int, rows: Rows, offset: int) -> int:
    """Reads into the rows and gives the CRC-32 of what was read, however little it was."""
    crc = 0
    for buffer in _buffers(rows):
        whole = buffer
        while len(buffer):
            count = os.preadv(descriptor, [buffer], offset)
            if count == 0:
                return -1
            buffer, offset = buffer[count:], offset + count
        crc = zlib.crc32(whole, crc)
    return crc


def _buffers(rows: Rows) -> list[memoryview]:
    arrays: list[NDArray[Any]] = [rows.records, *rows.values]
    return [bytes_of(array) for array in arrays]


def bytes_of(array: NDArray[Any]) -> memoryview:
    """The bytes of a contiguous array, not copied."""
    return array.reshape(-1).view(np.uint8).data


def _checksum(body: object) -> int:
    return zlib.crc32(json.dumps(body, sort_keys=True).encode())
