"""A row of a side table as bytes, and many of them back as a table, exact to the bit.

A row is: a bit a column, set where it is null; for each column its value where that has a fixed
size, else its number of bytes (of a list, its number of elements before that); the bytes of what
has no fixed size; and a CRC-32. All numbers are little endian. The CRC goes over the fingerprint of
the table's columns, the key and the row: bytes cut short, changed, of another key, or written for
other columns are refused, never taken for a row.

Many rows are read at once: what has a fixed size as one numpy array of records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.arrays import is_text, nulls_of, plain, plain_type
from polyrank.errors import ConfigError
from polyrank.serving.features.columns import Layout, WrongBytes, layout_of
from polyrank.serving.features.keys import key_bytes

FORMAT = 1
_CRC_BYTES = 4
_RESIDUE = 0x2144DF1C
"""The CRC-32 of anything followed by its own CRC-32."""


class RowCodec:
    """Rows of one side table.

    Args:
        name: Of the side table.
        key: Its key column.
        schema: Its columns, the key among them.

    Raises:
        ConfigError: A column of a type that no side table has, such as a struct.
    """

    def __init__(self, name: str, key: str, schema: Any) -> None:
        self.name = name
        self.key = key
        self.key_type = plain_type(schema.field(key).type)
        self.schema = pa.schema([field for field in schema if field.name != key])
        self._layouts = [_layout(name, field) for field in self.schema]
        fields: list[tuple[str, str, tuple[int, ...]]] = [
            ("nulls", "u1", (-(-len(self._layouts) // 8),))
        ]
        for place, layout in enumerate(self._layouts):
            fields += [(f"{place}.{part}", *shape) for part, shape in layout.fields.items()]
        self._record = np.dtype(fields)
        self.header = {
            "format": FORMAT,
            "table": name,
            "key": "text" if is_text(self.key_type) else str(self.key_type),
            "columns": {
                field.name: layout.name
                for field, layout in zip(self.schema, self._layouts, strict=True)
            },
        }
        text = json.dumps(self.header, separators=(",", ":"), ensure_ascii=False)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        """Of the table's name, key and columns with their types, in their order."""
        self._seed = crc32(self.fingerprint.encode())

    def encode(self, table: pa.Table) -> Iterator[tuple[bytes, bytes]]:
        """Key and row of every row; ``table`` has the key and the columns, in any order."""
        columns = [plain(table.column(name)) for name in self.schema.names]
        record_N = np.zeros(table.num_rows, self._record)
        null_NC = np.stack([nulls_of(column) for column in columns], axis=1)
        record_N["nulls"] = np.packbits(null_NC, axis=1, bitorder="little")
        loose: list[Sequence[bytes]] = []
        for place, (layout, column) in enumerate(zip(self._layouts, columns, strict=True)):
            parts, pieces = layout.pack(column)
            for part, value_N in parts.items():
                record_N[f"{place}.{part}"] = value_N
            loose += [pieces] if pieces is not None else []
        keys = key_bytes(plain(table.column(self.key)))
        tails = zip(*loose, strict=True) if loose else repeat(())
        for key, record, tail in zip(keys, record_N, tails, strict=False):
            assert key is not None, "a side table has no null key"
            row = record.tobytes() + b"".join(tail)
            yield key, row + crc32(row, crc32(key, self._seed)).to_bytes(_CRC_BYTES, "little")

    def decode(self, keys: Sequence[bytes], rows: Sequence[bytes]) -> pa.Table:
        """(K rows) The columns, in their types.

        Args:
            keys: (K) What was asked for.
            rows: (K) What came.

        Raises:
            WrongBytes: One of them is not the row of its key.
        """
        seed, size = self._seed, self._record.itemsize
        for key, row in zip(keys, rows, strict=True):
            # SQLite may hold text where bytes belong.
            if not isinstance(row, bytes) or crc32(row, crc32(key, seed)) != _RESIDUE:
                raise WrongBytes("a row is damaged, or of another key or table")
        if min(map(len, rows), default=size + _CRC_BYTES) < size + _CRC_BYTES:
            raise WrongBytes("a row is too short")
        record_K = np.frombuffer(b"".join([row[:size] for row in rows]), self._record)
        null_KC = np.unpackbits(record_K["nulls"], axis=1, bitorder="little").astype(np.bool_)
        start_K = np.full(len(rows), size, np.int64)
        arrays = []
        for place, (layout, field) in enumerate(zip(self._layouts, self.schema, strict=True)):
            parts = {part: record_K[f"{place}.{part}"] for part in layout.fields}
            pieces, start_K = _cut(rows, start_K, parts.get("size"))
            array = layout.unpack(parts, pieces, null_KC[:, place])
            arrays.append(array if array.type == field.type else array.cast(field.type))
        length_K = np.fromiter(map(len, rows), np.int64, len(rows))
        if not np.array_equal(start_K + _CRC_BYTES, length_K):
            raise WrongBytes("a row has another length than it says")
        return pa.table(arrays, schema=self.schema)

    def taken(self, keys: Sequence[bytes | None], rows: Sequence[bytes | None]) -> pa.Table:
        """(N rows) ``decode`` of the rows that are there, null where there is none."""
        pairs = [(key, row) for key, row in zip(keys, rows, strict=True) if row is not None]
        found = self.decode([key or b"" for key, _ in pairs], [row for _, row in pairs])
        if len(pairs) == len(rows):
            return found
        known_N = np.fromiter((row is not None for row in rows), np.bool_, len(rows))
        return found.take(pa.array(np.cumsum(known_N) - 1, mask=~known_N))

    def nothing(self, num_rows: int) -> pa.Table:
        """(N rows) Null in every column."""
        arrays = [pa.nulls(num_rows, field.type) for field in self.schema]
        return pa.table(arrays, schema=self.schema)


def _cut(
    rows: Sequence[bytes], start_K: NDArray[np.int64], size_K: NDArray[np.uint32] | None
) -> tuple[list[bytes], NDArray[np.int64]]:
    """The bytes of a column in each row, and where the next one's begin."""
    if size_K is None:
        return [], start_K
    end_K = start_K + size_K
    spans = zip(rows, start_K.tolist(), end_K.tolist(), strict=True)
    return [row[start:end] for row, start, end in spans], end_K


def _layout(table: str, field: Any) -> Layout:
    layout = layout_of(field.type)
    if layout is None:
        raise ConfigError(
            f"column {field.name!r} is {field.type}, which no store holds",
            where=f"table {table!r}",
            hint="Read side tables with `load_side_table`.",
        )
    return layout
