"""How a column of each type lies in the rows of a store.

Shapes: N rows, V elements of all lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.arrays import is_list, is_text, lengths_of, lists, nulls_of, plain_type

Array = NDArray[Any]
Parts = Mapping[str, Array]
Fields = Mapping[str, tuple[str, tuple[int, ...]]]
"""What of a column has a fixed size: numpy type and shape by part. Bytes beside: ``size`` many."""

_NUMBERS: dict[Any, str] = {
    pa.bool_(): "?",
    pa.int8(): "<i1",
    pa.int16(): "<i2",
    pa.int32(): "<i4",
    pa.int64(): "<i8",
    pa.uint8(): "<u1",
    pa.uint16(): "<u2",
    pa.uint32(): "<u4",
    pa.uint64(): "<u8",
    pa.float16(): "<f2",
    pa.float32(): "<f4",
    pa.float64(): "<f8",
}
_NULL = 2**32 - 1
"""The length of a text that is null."""
_SIZE: tuple[str, tuple[int, ...]] = ("<u4", ())


class WrongBytes(ValueError):
    """What a store gave is no row of this table."""


class Layout(Protocol):
    """One column."""

    name: str
    """Of its type, however it is packed."""
    fields: Fields
    """What of it has a fixed size."""

    def pack(self, column: Any) -> tuple[Parts, Sequence[bytes] | None]:
        """(N) Its parts, and its bytes of no fixed size, if it has such."""
        ...

    def unpack(self, parts: Parts, pieces: Sequence[bytes], null_N: NDArray[np.bool_]) -> Any:
        """(N,) The column again; ``WrongBytes`` where that cannot be."""
        ...


def layout_of(dtype: Any) -> Layout | None:
    """The layout of a type; None if a side table has no such column."""
    if pa.types.is_null(dtype):
        return Nothing()
    if dtype in _NUMBERS:
        return Number(dtype)
    if is_text(dtype):
        return Text()
    if not is_list(dtype):
        return None
    element = plain_type(dtype.value_type)
    if pa.types.is_fixed_size_list(dtype):
        return Vector(element, dtype.list_size) if element in _NUMBERS else None
    if is_text(element):
        return TextList()
    is_plain = element in _NUMBERS or pa.types.is_null(element)
    return NumberList(element) if is_plain else None


class Nothing:
    """A column without any value."""

    name = "null"
    fields: Fields = {}

    def pack(self, column: Any) -> tuple[Parts, None]:
        """Nothing."""
        return {}, None

    def unpack(self, parts: Parts, pieces: Sequence[bytes], null_N: NDArray[np.bool_]) -> Any:
        """Nulls."""
        return pa.nulls(len(null_N))


class Number:
    """A number or a truth value a row."""

    def __init__(self, dtype: Any) -> None:
        self.name = str(dtype)
        self.fields: Fields = {"value": (_NUMBERS[dtype], ())}
        self._dtype = dtype

    def pack(self, column: Any) -> tuple[Parts, None]:
        """The values, 0 where null."""
        return {"value": _numbers(column)}, None

    def unpack(self, parts: Parts, pieces: Sequence[bytes], null_N: NDArray[np.bool_]) -> Any:
        """The values, NaN kept apart from null."""
        return _array(parts["value"], self._dtype, null_N)


class Vector:
    """So many numbers a row."""

    def __init__(self, element: Any, dim: int) -> None:
        self.name = f"vector<{element}, {dim}>"
        self.fields: Fields = {"value": (_NUMBERS[element], (dim,))}
        self._element, self._dim = element, dim

    def pack(self, column: Any) -> tuple[Parts, None]:
        """The numbers, 0 where the vector is null."""
        null_N, flat = nulls_of(column), column.flatten()
        assert not flat.null_count, "`load_side_table` gives no vector with a null in it"
        value_ND = np.zeros((len(column), self._dim), _NUMBERS[self._element])
        value_ND[~null_N] = _numbers(flat).reshape(-1, self._dim)
        return {"value": value_ND}, None

    def unpack(self, parts: Parts, pieces: Sequence[bytes], null_N: NDArray[np.bool_]) -> Any:
        """The vectors."""
        flat = pa.array(np.ascontiguousarray(parts["value"]).ravel(), self._element)
        mask = pa.array(null_N) if null_N.any() else None
        return pa.FixedSizeListArray.from_arrays(flat, self._dim, mask=mask)


class Text:
    """A text a row."""

    name = "text"
    fields: Fields = {"size": _SIZE}

    def pack(self, column: Any) -> tuple[Parts, Sequence[bytes]]:
        """UTF-8."""
        pieces = column.cast(pa.large_binary()).fill_null(b"").to_pylist()
        return {"size": _sizes(pieces)}, pieces

    def unpack(self, parts: Parts, pieces: Sequence[bytes], null_N: NDArray[np.bool_]) -> Any:
        """Texts, each checked to be UTF-8."""
        values = zip(pieces, null_N.tolist(), strict=True)
        return _texts([None if null else piece for piece, null in values])


class NumberList:
    """Any number of numbers a row, in front of them a byte each if one of them is null."""

    def __init__(self, element: Any) -> None:
        self.name = f"list<{element}>"
        self.fields: Fields = {"count": _SIZE, "size": _SIZE}
        self._element = element
        self._storage = np.dtype(_NUMBERS.get(element, "<i1"))

    def pack(self, column: Any) -> tuple[Parts, Sequence[bytes]]:
        """The numbers of each list."""
        count_N, flat = lengths_of(column), column.flatten()
        known_V = ~nulls_of(flat)
        value_V = _numbers(flat).astype(self._storage, copy=False)
        pieces = []
        for start, end in _spans(count_N):
            known = known_V[start:end]
            marks = b"" if known.all() else known.tobytes()
            pieces.append(marks + value_V[start:end].tobytes())
        return {"count": count_N, "size": _sizes(pieces)}, pieces

    def unpack(self, parts: Parts, pieces: Sequence[bytes], null_N: NDArray[np.bool_]) -> Any:
        """The lists."""
        count_N, size_N = parts["count"].astype(np.int64), parts["size"].astype(np.int64)
        plain_N = size_N == count_N * self._storage.itemsize
        if not (plain_N | (size_N == count_N * (self._storage.itemsize + 1))).all():
            raise WrongBytes("a list has another length than it says")
        known_V = None
        if not plain_N.all():
            known = zip(pieces, count_N.tolist(), plain_N.tolist(), strict=True)
            marks = b"".join(
                b"\1" * count if all_ else piece[:count] for piece, count, all_ in known
            )
            known_V = np.frombuffer(marks, np.bool_)
            begins = np.where(plain_N, 0, count_N).tolist()
            pieces = [piece[begin:] for piece, begin in zip(pieces, begins, strict=True)]
        value_V = np.frombuffer(b"".join(pieces), self._storage)
        null_V = np.zeros(len(value_V), np.bool_) if known_V is None else ~known_V
        return lists(_array(value_V, self._element, null_V), count_N, null_N)


class TextList:
    """Any number of texts a row: the length of each, then all of them."""

    name = "list<text>"
    fields: Fields = {"count": _SIZE, "size": _SIZE}

    def pack(self, column: Any) -> tuple[Parts, Sequence[bytes]]:
        """The texts of each list."""
        count_N, texts = lengths_of(column), column.flatten().cast(pa.large_binary()).to_pylist()
        pieces = []
        for start, end in _spans(count_N):
            found = texts[start:end]
            length = [_NULL if text is None else len(text) for text in found]
            joined = b"".join(text for text in found if text is not None)
            pieces.append(np.array(length, "<u4").tobytes() + joined)
        return {"count": count_N, "size": _sizes(pieces)}, pieces

    def unpack(self, parts: Parts, pieces: Sequence[bytes], null_N: NDArray[np.bool_]) -> Any:
        """The lists."""
        count_N = parts["count"].astype(np.int64)
        texts: list[bytes | None] = []
        for piece, count in zip(pieces, count_N.tolist(), strict=True):
            texts += _split(piece, count)
        return lists(_texts(texts), count_N, null_N)


def _split(piece: bytes, count: int) -> Iterator[bytes | None]:
    if len(piece) < 4 * count:
        raise WrongBytes("a list has another length than it says")
    start = 4 * count
    for length in np.frombuffer(piece, "<u4", count).tolist():
        end = start if length == _NULL else start + length
        yield None if length == _NULL else piece[start:end]
        start = end
    if start != len(piece):
        raise WrongBytes("a list has another length than it says")


def _texts(values: Sequence[bytes | None]) -> Any:
    try:
        return pa.array(values, pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid as error:
        raise WrongBytes("a text is not UTF-8") from error


def _numbers(array: Any) -> Array:
    """The values, 0 where null."""
    if pa.types.is_null(array.type):
        return np.zeros(len(array), np.int8)
    if array.null_count:
        array = array.fill_null(pa.scalar(0).cast(array.type))
    numbers: Array = array.to_numpy(zero_copy_only=False)
    return numbers


def _array(value_N: Array, dtype: Any, null_N: NDArray[np.bool_]) -> Any:
    if pa.types.is_null(dtype):
        return pa.nulls(len(value_N))
    mask = null_N if null_N.any() else None
    return pa.array(np.ascontiguousarray(value_N), dtype, mask=mask, from_pandas=False)


def _sizes(pieces: Sequence[bytes]) -> NDArray[np.int64]:
    return np.fromiter(map(len, pieces), np.int64, len(pieces))


def _spans(count_N: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    end_N = np.cumsum(count_N)
    return zip((end_N - count_N).tolist(), end_N.tolist(), strict=True)
