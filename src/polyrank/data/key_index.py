"""Finds the row of a key, for many keys at once; built once."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.data.arrays import is_text, nulls_of, plain
from polyrank.data.hashing import hash_column, seed_of

Rows = NDArray[np.int64]

_SPARE = 2**20
_SPREAD = 4


class KeyIndex(Protocol):
    """The rows of distinct keys."""

    dtype: Any
    """The type of the keys."""

    def find(self, wanted: Any) -> Rows:
        """The row of each wanted key; -1 where there is none, or the key is null."""
        ...


def index_of(keys: Any) -> KeyIndex:
    """The index of ``keys``: int64 or text, no null, none twice."""
    keys = plain(keys)
    if is_text(keys.type):
        return TextIndex(keys)
    key_N = keys.to_numpy()
    if len(key_N) and _is_dense(key_N):
        return DenseIndex(key_N)
    return SortedIndex(key_N)


class DenseIndex:
    """Integers that lie densely: an array by key."""

    dtype = pa.int64()

    def __init__(self, key_N: Rows) -> None:
        self._low = int(key_N.min())
        self._row_K = np.full(int(key_N.max()) - self._low + 1, -1, dtype=np.int64)
        self._row_K[key_N - self._low] = np.arange(len(key_N))

    def find(self, wanted: Any) -> Rows:
        """One look-up a key."""
        key_B = _numbers(wanted)
        # The bounds come first: a difference of distant int64 would wrap around.
        inside_B = (key_B >= self._low) & (key_B <= self._low + len(self._row_K) - 1)
        row_B = np.full(len(key_B), -1, dtype=np.int64)
        row_B[inside_B] = self._row_K[key_B[inside_B] - self._low]
        return _without_nulls(row_B, wanted)


class SortedIndex:
    """Any integers: a binary search a key."""

    dtype = pa.int64()

    def __init__(self, key_N: Rows) -> None:
        self._order_N = np.argsort(key_N, kind="stable")
        self._sorted_N = key_N[self._order_N]

    def find(self, wanted: Any) -> Rows:
        """One binary search a key."""
        key_B = _numbers(wanted)
        if not len(self._sorted_N):
            return np.full(len(key_B), -1, dtype=np.int64)
        at_B = np.searchsorted(self._sorted_N, key_B).clip(max=len(self._sorted_N) - 1)
        row_B = np.where(self._sorted_N[at_B] == key_B, self._order_N[at_B], -1)
        return _without_nulls(row_B, wanted)


class TextIndex:
    """Text: a binary search a hash, and a comparison of what it hits."""

    dtype = pa.large_string()

    def __init__(self, keys: Any) -> None:
        self._keys = keys
        self._seed, hash_N = _distinct_hashes(keys)
        self._hashes = SortedIndex(hash_N)

    def find(self, wanted: Any) -> Rows:
        """Exact: two texts with one hash are told apart."""
        wanted = plain(wanted)
        row_B = self._hashes.find(pa.array(hash_column(wanted, self._seed).view(np.int64)))
        hit_B = (row_B >= 0) & ~nulls_of(wanted)
        hits = pa.array(row_B[hit_B])
        same = pc.equal(self._keys.take(hits), wanted.filter(pa.array(hit_B)))
        row_B[~hit_B] = -1
        row_B[np.flatnonzero(hit_B)[~same.to_numpy(zero_copy_only=False)]] = -1
        return row_B


def _distinct_hashes(keys: Any) -> tuple[np.uint64, Rows]:
    """A seed under which no two keys have one hash, and the hashes."""
    attempt, hash_N = 0, np.zeros(2, np.int64)
    while len(np.unique(hash_N)) < len(hash_N):
        attempt += 1
        seed = seed_of(f"key index {attempt}")
        hash_N = hash_column(keys, seed).view(np.int64)
    return seed, hash_N


def _is_dense(key_N: Rows) -> bool:
    return int(key_N.max()) - int(key_N.min()) < _SPREAD * len(key_N) + _SPARE


def _numbers(wanted: Any) -> Rows:
    filled = plain(wanted)
    filled = filled.fill_null(0) if filled.null_count else filled
    numbers: Rows = filled.to_numpy(zero_copy_only=False)
    return numbers


def _without_nulls(row_B: Rows, wanted: Any) -> Rows:
    if wanted.null_count:
        row_B[nulls_of(wanted)] = -1
    return row_B
