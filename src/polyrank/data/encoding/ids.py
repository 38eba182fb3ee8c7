"""Ids as they come from a log: int64 or byte-exact strings, never floats."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.errors import DataError

Kind = Literal["int", "string"]


def as_ids(array: pa.Array, where: str) -> pa.Array:
    """The ids as int64 or large_binary (the UTF-8 bytes, unchanged); an all-null column stays null.

    Raises:
        DataError: Floats, or another type that has no lossless cast to int64 or string.
    """
    if is_int(array):
        return array
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_null(kind) or is_int(array):
        return array
    if pa.types.is_large_string(kind):
        return array.view(pa.large_binary())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return _cast(array, pa.int64(), where)
    if _is_text(kind):
        return array.cast(pa.large_binary())
    raise DataError(
        f"ids of type {kind}; ids are integers or strings",
        where=where,
        hint="cast the column to int64 or string, or declare the feature as numeric",
    )


def is_int(ids: pa.Array) -> bool:
    """Whether the ids are int64."""
    return bool(ids.type == pa.int64())


def kind_of(ids: pa.Array) -> Kind | None:
    """The kind of ids; None for a column that is null throughout."""
    if pa.types.is_null(ids.type):
        return None
    return "int" if is_int(ids) else "string"


def check_kind(found: Kind | None, fitted: Kind | None, where: str) -> None:
    """Refuses ids of another kind than those fitted: they would all be out of vocabulary.

    Raises:
        DataError: Integers against strings or the reverse.
    """
    if found is not None and fitted is not None and found != fitted:
        raise DataError(
            f"ids are of type {found}, but of type {fitted} in the training split",
            where=where,
            hint="give the column the same type in every log and in every table to be scored",
        )


def int_values(ids: pa.Array) -> NDArray[np.int64]:
    """The values of an int64 array without a copy; whatever stands there where one is null."""
    if len(ids) == 0:
        return np.empty(0, dtype=np.int64)
    buffer: Any = ids.buffers()[1]
    return np.frombuffer(buffer, dtype=np.int64, count=len(ids), offset=8 * ids.offset)


def binary_values(ids: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of a large_binary array without nulls, and where each id begins and ends in them.

    Offsets start from 0; the bytes are not copied.
    """
    if len(ids) == 0:
        return np.empty(0, dtype=np.uint8), np.zeros(1, dtype=np.int64)
    _, positions, content = ids.buffers()
    offsets = np.frombuffer(positions, np.int64, count=len(ids) + 1, offset=8 * ids.offset)
    first, size = int(offsets[0]), int(offsets[-1] - offsets[0])
    if size == 0:
        return np.empty(0, dtype=np.uint8), np.zeros(len(offsets), dtype=np.int64)
    return np.frombuffer(content, np.uint8, count=size, offset=first), offsets - first


def null_mask(array: pa.Array) -> NDArray[np.bool_] | None:
    """True where the array is null; None if it has no null."""
    if array.null_count == 0:
        return None
    mask: NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    return mask


def distinct(ids: pa.Array) -> tuple[pa.Array, NDArray[np.int32]]:
    """The distinct non-null ids, and for each id which of them it is; -1 where it is null."""
    encoded = ids.dictionary_encode()
    indices = pc.fill_null(encoded.indices, -1) if ids.null_count else encoded.indices
    codes: NDArray[np.int32] = indices.to_numpy()
    return encoded.dictionary, codes


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _cast(array: pa.Array, target: pa.DataType, where: str) -> pa.Array:
    try:
        return array.cast(target)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"ids beyond int64: {error}", where=where, hint="cast the column to string"
        ) from error
