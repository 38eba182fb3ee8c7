"""Rows as bytes: exact for every type, and refused where a byte is not what it was."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data.arrays import plain
from polyrank.errors import ConfigError
from polyrank.serving.features.codec import RowCodec
from polyrank.serving.features.columns import (
    NumberList,
    Text,
    TextList,
    WrongBytes,
)
from tests.serving.features import world

_TEXTS = st.text(max_size=4)
_FLOATS = {
    16: st.floats(width=16),
    32: st.floats(width=32),
    64: st.floats() | st.just(-0.0) | st.just(5e-324),
}


def _whole(dtype: Any) -> st.SearchStrategy[int]:
    low = 0 if pa.types.is_unsigned_integer(dtype) else -(2 ** (dtype.bit_width - 1))
    return st.integers(low, low + 2**dtype.bit_width - 1)


def _values(dtype: Any) -> st.SearchStrategy[Any]:
    """Values of a type, null among them."""
    if pa.types.is_integer(dtype):
        some: st.SearchStrategy[Any] = _whole(dtype)
    elif pa.types.is_floating(dtype):
        some = _FLOATS[dtype.bit_width].map(
            lambda value: np.dtype(dtype.to_pandas_dtype()).type(value)
        )
    elif pa.types.is_boolean(dtype):
        some = st.booleans()
    elif pa.types.is_null(dtype):
        some = st.none()
    elif pa.types.is_large_string(dtype):
        some = _TEXTS
    elif pa.types.is_fixed_size_list(dtype):
        inner = _values(dtype.value_type).filter(lambda value: value is not None)
        some = st.lists(inner, min_size=dtype.list_size, max_size=dtype.list_size)
    else:
        some = st.lists(_values(dtype.value_type), max_size=4)
    return st.none() | some


_INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
_UNSIGNED = [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
SCALARS = [
    *_INTEGERS,
    *_UNSIGNED,
    pa.float16(),
    pa.float32(),
    pa.float64(),
    pa.bool_(),
    pa.null(),
    pa.large_string(),
]
TYPES = [
    *SCALARS,
    *(pa.large_list(dtype) for dtype in SCALARS),
    pa.list_(pa.float32(), 3),
    pa.list_(pa.int64(), 1),
]


def _bits(array: Any) -> list[Any]:
    """What a column holds, NaN and the sign of zero by their bits."""
    array = plain(array)
    if pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        lengths = [None if value is None else len(value) for value in array.to_pylist()]
        return [lengths, _bits(array.flatten())]
    if pa.types.is_floating(array.type):
        wide = f"u{array.type.bit_width // 8}"
        values = array.fill_null(pa.scalar(0).cast(array.type)).to_numpy(zero_copy_only=False)
        return [array.is_null().to_pylist(), values.view(wide).tolist()]
    return [repr(value) for value in array.to_pylist()]


@settings(max_examples=4)
@given(data=st.data(), number=st.integers(1, 3))
def test_a_row_of_every_type_comes_back_bit_for_bit(data: st.DataObject, number: int) -> None:
    columns = {
        str(dtype): pa.array(
            data.draw(st.lists(_values(dtype), min_size=number, max_size=number)), dtype
        )
        for dtype in TYPES
    }
    table = pa.table({"id": pa.array(range(number)), **columns})
    codec = RowCodec("t", "id", table.schema)
    keys, rows = zip(*codec.encode(table), strict=True)
    found = codec.decode(keys, rows)
    assert found.schema.equals(codec.schema)
    for name in columns:
        assert _bits(found[name]) == _bits(table[name])


def _encoded(name: str) -> tuple[RowCodec, list[bytes], list[bytes]]:
    codec = world.codec(name)
    pairs = list(codec.encode(world.tables()[name]))
    return codec, [key for key, _ in pairs], [row for _, row in pairs]


@settings(max_examples=30)
@given(data=st.data(), name=st.sampled_from(["users", "items"]))
def test_damaged_bytes_are_refused(data: st.DataObject, name: str) -> None:
    codec, keys, rows = _encoded(name)
    place = data.draw(st.integers(0, len(rows) - 1))
    row = rows[place]
    at = data.draw(st.integers(0, len(row) - 1))
    flipped = row[:at] + bytes([row[at] ^ data.draw(st.integers(1, 255))]) + row[at + 1 :]
    other = rows[place - 1]
    wrong = data.draw(
        st.sampled_from([flipped, row[:at], row + row[:1], b"", other, row[:4]]) | st.binary()
    )
    with pytest.raises(WrongBytes):
        codec.decode(keys, [*rows[:place], wrong, *rows[place + 1 :]])


@pytest.mark.parametrize("change", ["name", "type", "order", "table"])
def test_rows_written_for_other_columns_are_refused(change: str) -> None:
    schema = pa.schema([("id", pa.int64()), ("a", pa.float64()), ("b", pa.int64())])
    others = {
        "name": ("t", [schema.field(0), schema.field(1).with_name("c"), schema.field(2)]),
        "type": ("t", [schema.field(0), schema.field(1), pa.field("b", pa.uint64())]),
        "order": ("t", [schema.field(0), schema.field(2), schema.field(1)]),
        "table": ("u", list(schema)),
    }
    name, fields = others[change]
    first, second = RowCodec("t", "id", schema), RowCodec(name, "id", pa.schema(fields))
    row = [7, 1.0, 2]
    table = pa.table([pa.array([value]) for value in row], names=schema.names)
    key, written = next(iter(first.encode(table)))
    assert first.decode([key], [written]).num_rows == 1
    assert first.fingerprint != second.fingerprint
    with pytest.raises(WrongBytes):
        second.decode([key], [written])


def test_the_fingerprint_is_of_the_columns_however_they_are_packed() -> None:
    """Stores outlive processes and releases: a change of this value makes them be filled anew."""
    schema = pa.schema([("id", pa.int64()), ("a", pa.large_list(pa.int64())), ("b", pa.string())])
    again = pa.schema(
        [
            ("id", pa.int64()),
            ("a", pa.large_list(pa.field("element", pa.int64()))),
            ("b", pa.large_string()),
        ]
    )
    text = b'{"format":1,"table":"t","key":"int64","columns":{"a":"list<int64>","b":"text"}}'
    found = RowCodec("t", "id", schema).fingerprint
    assert found == RowCodec("t", "id", again).fingerprint == sha256(text).hexdigest()[:16]


@pytest.mark.parametrize(
    "dtype",
    [
        pa.timestamp("s"),
        pa.struct([("a", pa.int64())]),
        pa.large_list(pa.large_list(pa.int64())),
        pa.list_(pa.large_string(), 2),
        pa.large_list(pa.date32()),
        pa.binary(),
    ],
)
def test_a_type_that_no_side_table_has_is_refused(dtype: Any) -> None:
    with pytest.raises(ConfigError, match="column 'odd' is .*, which no store holds"):
        RowCodec("t", "id", pa.schema([("id", pa.int64()), ("odd", dtype)]))


def _u4(*values: int) -> np.ndarray:
    return np.array(values, "<u4")


@pytest.mark.parametrize(
    ("count", "piece"), [(1, b""), (1, b"\1" * 10), (2, b"\0" * 8), (0, b"\0")]
)
def test_lengths_of_numbers_that_contradict_each_other(count: int, piece: bytes) -> None:
    parts = {"count": _u4(count), "size": _u4(len(piece))}
    with pytest.raises(WrongBytes, match="another length"):
        NumberList(pa.int64()).unpack(parts, [piece], np.zeros(1, np.bool_))


@pytest.mark.parametrize(
    ("count", "piece"),
    [(1, b""), (1, b"\2\0\0\0a"), (1, b"\0\0\0\0a"), (2, b"\0\0\0\0"), (1, b"\1\0\0\0\xff")],
)
def test_texts_that_contradict_their_lengths(count: int, piece: bytes) -> None:
    parts = {"count": _u4(count), "size": _u4(len(piece))}
    with pytest.raises(WrongBytes, match="another length|not UTF-8"):
        TextList().unpack(parts, [piece], np.zeros(1, np.bool_))


def test_text_that_is_not_utf8() -> None:
    with pytest.raises(WrongBytes, match="UTF-8"):
        Text().unpack({"size": _u4(1)}, [b"\xff"], np.zeros(1, np.bool_))


def test_a_row_of_another_length_than_it_says() -> None:
    """Its checksum holds, so whoever wrote it made the mistake."""
    from zlib import crc32

    codec, keys, rows = _encoded("items")
    seed = crc32(keys[0], crc32(codec.fingerprint.encode()))
    for body, told in ((rows[0][:-4] + b"\0", "another length"), (b"\0", "too short")):
        row = body + crc32(body, seed).to_bytes(4, "little")
        with pytest.raises(WrongBytes, match=told):
            codec.decode(keys[:1], [row])


def test_rows_are_small() -> None:
    """64 floats and a few numbers: little more than the numbers themselves."""
    vector = pa.list_(pa.float32(), 64)
    table = pa.table(
        {"id": [1], "v": pa.array([[0.1] * 64], vector), "a": [1.0], "b": [2], "c": ["news"]}
    )
    codec = RowCodec("t", "id", table.schema)
    ((_, row),) = codec.encode(table)
    assert len(row) == 1 + 64 * 4 + 8 + 8 + (4 + 4) + 4
