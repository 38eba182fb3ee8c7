"""A 64-bit hash of columns that is the same on every machine, release and day.

Integers go through the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014); a string is the
sum over its bytes of the hash of (byte, position). 0.0 and -0.0 are equal, all NaN are equal, null
is a value of its own. Int64 7 and the string "7" differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.data.arrays import floats_of, is_list, is_text, lengths_of, nulls_of, plain

U64 = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_NULL = np.uint64(0x6E756C6C6E756C6C)
_TEXT = np.uint64(0x7465787474657874)


def seed_of(salt: str) -> np.uint64:
    """64 bits of a salt."""
    digest = hashlib.blake2b(salt.encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def mix(x_B: U64) -> U64:
    """SplitMix64 of each value."""
    z_B = x_B + _GOLDEN
    z_B = (z_B ^ (z_B >> np.uint64(30))) * _MIX_1
    z_B = (z_B ^ (z_B >> np.uint64(27))) * _MIX_2
    mixed: U64 = z_B ^ (z_B >> np.uint64(31))
    return mixed


def hash_rows(columns: Sequence[Any]) -> U64:
    """Hash of each row over ``columns``, pyarrow arrays of one length; their order counts."""
    row_B = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        row_B = mix(row_B ^ hash_column(column))
    return row_B


def hash_column(array: Any, seed: np.uint64 = _GOLDEN) -> U64:
    """Hash of each value of a pyarrow array: numbers, booleans, strings, times, lists of them."""
    array = plain(array)
    hash_B = mix(_bits(array) ^ seed)
    if array.null_count:
        hash_B = np.where(nulls_of(array), mix(np.array([_NULL ^ seed])), hash_B)
    return hash_B


def unit_interval(hash_B: U64) -> NDArray[np.float64]:
    """A hash as a number in [0, 1), from its upper 53 bits."""
    return (hash_B >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _bits(array: Any) -> U64:
    dtype = array.type
    if is_text(dtype):
        return _text_bits(array)
    if is_list(dtype):
        return _list_bits(array)
    if pa.types.is_floating(dtype):
        value_B = floats_of(array) + 0.0  # turns -0.0 into 0.0
        return np.where(np.isnan(value_B), np.nan, value_B).view(np.uint64)
    if pa.types.is_decimal(dtype):
        return _text_bits(array.cast(pa.large_string()))
    if pa.types.is_null(dtype):
        return np.zeros(len(array), dtype=np.uint64)
    return _integer_bits(array)


def _integer_bits(array: Any) -> U64:
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    elif pa.types.is_temporal(array.type):
        array = array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())
    if array.null_count:
        array = pc.fill_null(array, 0)
    if array.type != pa.uint64():
        array = array.cast(pa.int64())
    bits: U64 = array.to_numpy(zero_copy_only=False).view(np.uint64)
    return bits


def _text_bits(array: Any) -> U64:
    _, offsets, data = array.buffers()
    end_B = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    byte_V = np.frombuffer(data or b"", dtype=np.uint8)[end_B[0] : end_B[-1]].astype(np.uint64)
    length_B = np.diff(end_B)
    place_V = np.arange(len(byte_V)) - np.repeat(end_B[:-1] - end_B[0], length_B)
    return _sums(mix(byte_V + (place_V.astype(np.uint64) << np.uint64(8))), length_B) ^ _TEXT


def _list_bits(array: Any) -> U64:
    length_B = lengths_of(array)
    value_V = hash_column(array.flatten())
    start_B = np.cumsum(length_B) - length_B
    place_V = np.arange(len(value_V)) - np.repeat(start_B, length_B)
    return _sums(mix(value_V + place_V.astype(np.uint64)), length_B) ^ length_B.astype(np.uint64)


def _sums(value_V: U64, length_B: NDArray[np.int64]) -> U64:
    """The sum modulo 2^64 of each run of ``value_V``."""
    total_V = np.concatenate([np.zeros(1, np.uint64), np.cumsum(value_V, dtype=np.uint64)])
    end_B = np.cumsum(length_B)
    sums: U64 = total_V[end_B] - total_V[end_B - length_B]
    return sums
