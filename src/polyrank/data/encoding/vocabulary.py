"""Which row of the table an id has: by a fitted list of ids, or by a hash.

Rows here count from 0 within the vocabulary; ``Encoders`` lays the vocabularies end to end.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.data.encoding.hashing import derive_key, hash_ids, hash_ints
from polyrank.data.encoding.ids import Kind, distinct, int_values, is_int, kind_of, null_mask

MISSING = 0
"""The row of a null id."""
UNSEEN = 1
"""The row of an id outside the vocabulary."""
_SPECIAL = 2
_FEW = 1 << 13
"""Integers up to which looking each up costs less than telling them apart first."""
_FEW_TEXTS = 64
"""Distinct strings up to which a dictionary finds them faster than their hashes."""
_SMALL = 1 << 14
"""Strings of a vocabulary up to which it has a dictionary beside."""
_DENSE_SLACK = 1 << 16
_DENSE_FACTOR = 8


class Vocabulary:
    """A fitted list of ids: row 0 missing, row 1 out of vocabulary, then the ids in their order.

    Args:
        ids: Distinct int64 or large_binary values without null; an array of type null if no id was
            ever seen.
    """

    def __init__(self, ids: pa.Array) -> None:
        self.ids = ids
        self.kind: Kind | None = kind_of(ids)
        self.num_rows = _SPECIAL + len(ids)
        self._lookup: _Lookup | None = None
        if self.kind is not None and len(ids):
            self._lookup = _lookup(ids)

    def rows(self, ids: pa.Array) -> NDArray[np.int32]:
        """The row of each id, in [0, ``num_rows``). The kind of the ids must be the fitted one."""
        if pa.types.is_null(ids.type):
            return np.zeros(len(ids), dtype=np.int32)
        if isinstance(self._lookup, _Dense):
            return _with_missing(self._lookup.find(int_values(ids)), ids)
        if self._lookup is None:
            return _with_missing(np.full(len(ids), UNSEEN, dtype=np.int32), ids)
        if is_int(ids) and len(ids) <= _FEW:
            return _with_missing(self._lookup.find_ints(int_values(ids)), ids)
        if len(ids) <= _FEW_TEXTS and self._lookup.small:
            return self._lookup.find_few(ids)
        values, codes = distinct(ids)
        rows = np.append(self._lookup.find(values), np.int32(MISSING))
        return rows[codes]


class Buckets:
    """Ids hashed into rows: row 0 missing, then ``num_buckets`` rows. Every id has a row.

    Args:
        num_buckets: At least 1.
        key: Of the hash, 64 bits.
        kind: Of the ids in the training split; None if there were none.
    """

    def __init__(self, num_buckets: int, key: int, kind: Kind | None) -> None:
        self.num_buckets = num_buckets
        self.key = key
        self.kind: Kind | None = kind
        self.num_rows = 1 + num_buckets

    def rows(self, ids: pa.Array) -> NDArray[np.int32]:
        """The row of each id, in [0, ``num_rows``)."""
        if pa.types.is_null(ids.type):
            return np.zeros(len(ids), dtype=np.int32)
        values, codes = distinct(ids)
        buckets = hash_ids(values, self.key) % np.uint64(self.num_buckets)
        rows = np.append(buckets.astype(np.int32) + np.int32(1), np.int32(MISSING))
        return rows[codes]


def _with_missing(rows: NDArray[np.int32], ids: pa.Array) -> NDArray[np.int32]:
    missing = null_mask(ids)
    if missing is not None:
        rows[missing] = MISSING
    return rows


class _Dense:
    """Integers that lie close together: one table from value to row."""

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self._lowest = ids.min()
        self._rows = np.full(int(ids.max()) - int(self._lowest) + 2, UNSEEN, dtype=np.int32)
        self._rows[ids - self._lowest] = np.arange(_SPECIAL, _SPECIAL + len(ids), dtype=np.int32)

    def find(self, values: NDArray[np.int64]) -> NDArray[np.int32]:
        # The difference wraps below the lowest id, to beyond the last: there stands "unseen".
        place = (values - self._lowest).view(np.uint64)
        last = np.uint64(len(self._rows) - 1)
        rows: NDArray[np.int32] = self._rows.take(np.minimum(place, last).view(np.int64))
        return rows


class _Hashed:
    """Integers far apart, or strings: found by their hashes, of which no two are equal.

    The hashes stand sorted; as they are spread evenly, their leading bits tell about where.
    """

    def __init__(self, ids: pa.Array) -> None:
        self._ids = ids
        self._key, self._hashes, self._places = _free_of_collisions(ids)
        bits = max(1, len(ids).bit_length())
        self._shift = np.uint64(64 - bits)
        starts = np.arange(1 << bits, dtype=np.uint64) << self._shift
        self._starts = np.searchsorted(self._hashes, starts).astype(np.int32)
        self.small: dict[bytes | None, int] = {}
        """The rows of all ids and of null, of a small vocabulary of strings."""
        if len(ids) <= _SMALL and not is_int(ids):
            self.small = {each: row for row, each in enumerate(ids.to_pylist(), _SPECIAL)}
            self.small[None] = MISSING

    def find(self, ids: pa.Array) -> NDArray[np.int32]:
        """Rows of distinct ids."""
        if is_int(ids):
            return self.find_ints(int_values(ids))
        if self.small and len(ids) <= _FEW_TEXTS:
            return self.find_few(ids)
        places, hit = self._find_hashes(hash_ids(ids, self._key))
        near = np.flatnonzero(hit)
        same = pc.equal(ids.take(pa.array(near)), self._ids.take(pa.array(places[near])))
        hit[near] = same.to_numpy(zero_copy_only=False)
        return np.where(hit, places + np.int32(_SPECIAL), np.int32(UNSEEN))

    def find_few(self, ids: pa.Array) -> NDArray[np.int32]:
        """Rows of a few strings or nulls, where ``small`` has all."""
        return np.array([self.small.get(each, UNSEEN) for each in ids.to_pylist()], dtype=np.int32)

    def find_ints(self, values: NDArray[np.int64]) -> NDArray[np.int32]:
        """Rows of integers: no two of them have one hash."""
        places, hit = self._find_hashes(hash_ints(values, self._key))
        return np.where(hit, places + np.int32(_SPECIAL), np.int32(UNSEEN))

    def _find_hashes(
        self, hashes: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Of each hash the place of an id among the ids, and whether that id has the hash."""
        at = self._find_sorted(hashes)
        return self._places[at], self._hashes[at] == hashes

    def _find_sorted(self, hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Of each hash the place of the first that is not smaller, or the last place."""
        last = np.int32(len(self._hashes) - 1)
        at = np.minimum(self._starts[(hashes >> self._shift).view(np.int64)], last)
        active = np.flatnonzero((self._hashes[at] < hashes) & (at < last))
        while active.size:
            at[active] += 1
            there = at[active]
            active = active[(self._hashes[there] < hashes[active]) & (there < last)]
        return at


_Lookup = _Dense | _Hashed


def _lookup(ids: pa.Array) -> _Lookup:
    if is_int(ids):
        values = int_values(ids)
        if int(values.max()) - int(values.min()) <= _DENSE_FACTOR * len(ids) + _DENSE_SLACK:
            return _Dense(values)
    return _Hashed(ids)


def _free_of_collisions(
    ids: pa.Array,
) -> tuple[int, NDArray[np.uint64], NDArray[np.int32]]:
    """The first key that tells all ids apart, their hashes rising, and whose hash each is."""
    attempt = 0
    while True:
        key = derive_key("vocabulary", attempt)
        hashes = hash_ids(ids, key)
        order = np.argsort(hashes)
        hashes = hashes[order]
        if (hashes[1:] != hashes[:-1]).all():
            return key, hashes, order.astype(np.int32)
        attempt += 1
