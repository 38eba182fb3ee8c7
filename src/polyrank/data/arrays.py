"""Small steps between pyarrow arrays and numpy, without a copy where there need be none."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

INT64_MAX = 2**63 - 1
_TEXTS = frozenset(dtype.id for dtype in (pa.string(), pa.large_string(), pa.string_view()))
_LISTS = frozenset(
    dtype.id
    for dtype in (
        pa.list_(pa.int8()),
        pa.large_list(pa.int8()),
        pa.list_(pa.int8(), 1),
        pa.list_view(pa.int8()),
        pa.large_list_view(pa.int8()),
    )
)
_PACKED = frozenset(
    dtype.id
    for dtype in (
        pa.dictionary(pa.int8(), pa.int8()),
        pa.run_end_encoded(pa.int16(), pa.int8()),
        pa.string(),
        pa.string_view(),
    )
)
"""Types that ``plain`` may have to change, beside lists."""


def is_text(dtype: Any) -> bool:
    """Whether a type holds strings."""
    return dtype.id in _TEXTS


def is_list(dtype: Any) -> bool:
    """Whether a type holds lists."""
    return dtype.id in _LISTS


@lru_cache(maxsize=1024)
def plain_type(dtype: Any) -> Any:
    """A type without its packing: dictionaries and runs decoded, strings large."""
    if pa.types.is_dictionary(dtype) or pa.types.is_run_end_encoded(dtype):
        return plain_type(dtype.value_type)
    if is_text(dtype):
        return pa.large_string()
    if is_list(dtype) and not pa.types.is_fixed_size_list(dtype):
        return pa.large_list(plain_type(dtype.value_type))
    return dtype


def plain(array: Any) -> Any:
    """One array of the plain type."""
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
    dtype = array.type
    if dtype.id not in _PACKED and dtype.id not in _LISTS:
        return array
    if pa.types.is_dictionary(dtype):
        values = plain(array.dictionary)
        return pa.DictionaryArray.from_arrays(array.indices, values).dictionary_decode()
    if pa.types.is_run_end_encoded(dtype):
        return plain(pc.run_end_decode(array))
    if is_list(dtype) and not pa.types.is_fixed_size_list(dtype):
        return _plain_lists(array)
    wanted = plain_type(dtype)
    return array if dtype == wanted else array.cast(wanted)


def _plain_lists(array: Any) -> Any:
    if pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type):
        array = array.cast(pa.large_list(array.type.value_type))
    return lists(plain(array.flatten()), lengths_of(array), nulls_of(array))


def nulls_of(array: Any) -> NDArray[np.bool_]:
    """Which values are null."""
    if not array.null_count:
        return np.zeros(len(array), dtype=np.bool_)
    nulls: NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    return nulls


def floats_of(array: Any) -> NDArray[np.float64]:
    """A number array as float64; null is NaN."""
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    if not pa.types.is_float64(array.type):
        array = array.cast(pa.float64(), safe=False)
    values: NDArray[np.float64] = array.to_numpy(zero_copy_only=False)
    return values


def lengths_of(array: Any) -> NDArray[np.int64]:
    """How many elements each list has; a null list has none."""
    lengths = pc.list_value_length(array).fill_null(0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)


def lists(values: Any, lengths: NDArray[np.int64], nulls: NDArray[np.bool_]) -> Any:
    """A large_list array from flat ``values``, the length of each list and which are null."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    mask = pa.array(nulls) if nulls.any() else None
    return pa.LargeListArray.from_arrays(pa.array(offsets), values, mask=mask)


def blank(array: Any, bad_B: NDArray[np.bool_]) -> Any:
    """``array``, null where ``bad_B`` is true."""
    return pc.if_else(pa.array(bad_B), pa.scalar(None, array.type), array)


def failing(array: Any, attempt: Callable[[Any], object]) -> NDArray[np.bool_]:
    """The values on which ``attempt`` raises ``ArrowInvalid``; it is called on slices."""
    bad_B = np.zeros(len(array), dtype=np.bool_)
    _mark(array, attempt, 0, bad_B)
    return bad_B


def _mark(
    array: Any, attempt: Callable[[Any], object], start: int, bad_B: NDArray[np.bool_]
) -> None:
    """Mark them by halving; ``array`` begins at ``start``."""
    try:
        attempt(array)
    except pa.ArrowInvalid:
        if len(array) == 1:
            bad_B[start] = True
            return
        half = len(array) // 2
        _mark(array.slice(0, half), attempt, start, bad_B)
        _mark(array.slice(half), attempt, start + half, bad_B)
