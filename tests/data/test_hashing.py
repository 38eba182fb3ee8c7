from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.data.hashing import hash_column, hash_rows, mix, seed_of, unit_interval

MASK = 2**64 - 1


def splitmix(x: int) -> int:
    """SplitMix64 in Python's whole numbers."""
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


@given(st.lists(st.integers(0, MASK), min_size=1))
def test_mix_is_splitmix64(values: list[int]) -> None:
    assert mix(np.array(values, np.uint64)).tolist() == [splitmix(value) for value in values]


def test_the_first_outputs_are_the_published_ones() -> None:
    state = np.array([0, 0x9E3779B97F4A7C15], np.uint64)
    assert mix(state).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_the_hash_never_changes() -> None:
    """A split by user has to put the same users in the same part, next year, too."""
    users = hash_column(pa.array([0, 1, -1, 2**62]), seed_of("salt")).tolist()
    names = hash_column(pa.array(["", "a", "ab", "ба"]), seed_of("salt")).tolist()
    seed = int(seed_of("salt"))
    assert users == [splitmix((x & MASK) ^ seed) for x in (0, 1, -1, 2**62)]
    assert names == [splitmix(text_bits(text) ^ seed) for text in ("", "a", "ab", "ба")]


def text_bits(text: str) -> int:
    total = sum(splitmix(byte + 256 * place) for place, byte in enumerate(text.encode()))
    return (total & MASK) ^ 0x7465787474657874


VALUES = st.one_of(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)),
    st.lists(st.none() | st.text(max_size=6)),
    st.lists(st.none() | st.floats()),
    st.lists(st.none() | st.booleans()),
    st.lists(st.none() | st.lists(st.none() | st.integers(-5, 5), max_size=4)),
    st.lists(st.none() | st.lists(st.text(max_size=2), max_size=3)),
    st.lists(st.none() | st.dates()),
)


def key(value: Any) -> Any:
    """What makes two values the same."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return tuple(map(key, value)) if isinstance(value, list) else value


@given(VALUES)
def test_equal_values_and_only_those_have_one_hash(values: list[Any]) -> None:
    hashes = hash_column(pa.array(values)).tolist()
    by_value = dict(zip(map(key, values), hashes, strict=True))
    assert [by_value[key(value)] for value in values] == hashes
    assert len(set(by_value.values())) == len(by_value)


@given(VALUES, st.integers(0, 5))
def test_slices_chunks_and_packing_change_nothing(values: list[Any], cut: int) -> None:
    array = pa.array(values)
    hashes = hash_column(array).tolist()
    assert hash_column(array.slice(cut)).tolist() == hashes[cut:]
    assert hash_column(pa.chunked_array([array.slice(0, cut), array.slice(cut)])).tolist() == hashes
    if not pa.types.is_list(array.type) and not pa.types.is_null(array.type):
        assert hash_column(array.dictionary_encode()).tolist() == hashes


def test_the_type_that_holds_a_value_changes_nothing() -> None:
    for dtype in (pa.int8(), pa.int64(), pa.uint8(), pa.uint64()):
        assert hash_column(pa.array([7], dtype)).tolist() == hash_column(pa.array([7])).tolist()
    for dtype in (pa.string(), pa.large_string(), pa.string_view()):
        assert hash_column(pa.array(["x"], dtype)).tolist() == hash_column(pa.array(["x"])).tolist()
    floats = pa.array([1.5, -0.0, math.nan])
    assert hash_column(floats.cast(pa.float32())).tolist() == hash_column(floats).tolist()
    assert hash_column(pa.array([0.0])).tolist() == hash_column(pa.array([-0.0])).tolist()


def test_kinds_of_value_differ() -> None:
    times = [datetime.datetime(2022, 1, 1), datetime.datetime(2023, 1, 1)]
    for values in (times, [Decimal("1.5"), Decimal("1.50001")], [7, 8], ["7", "8"], [7.0, 8.0]):
        assert len(set(hash_column(pa.array(values)).tolist())) == 2
    different = [[7], ["7"], [None], [[7]], [[]], [""], [True]]
    assert len({hash_column(pa.array(values)).tolist()[0] for values in different}) == 7
    assert len(hash_column(pa.nulls(3))) == 3


def test_rows_depend_on_the_place_of_each_value() -> None:
    a, b = pa.array([1, 2]), pa.array([2, 1])
    assert len({*hash_rows([a, b]).tolist(), *hash_rows([b, a]).tolist()}) == 2
    assert hash_rows([a, b]).tolist() == hash_rows([a.cast(pa.int32()), b]).tolist()


def test_the_unit_interval_is_filled_evenly() -> None:
    share = unit_interval(hash_column(pa.array(range(100_000)), seed_of("x")))
    assert share.min() >= 0
    assert share.max() < 1
    counts = np.histogram(share, bins=20, range=(0, 1))[0]
    assert counts.min() > 4700  # 5000 expected, deviation 69
    assert counts.max() < 5300


def test_salts_give_independent_hashes() -> None:
    users = pa.array(range(10_000))
    one, other = (unit_interval(hash_column(users, seed_of(salt))) < 0.5 for salt in ("a", "b"))
    assert (one & other).mean() == pytest.approx(0.25, abs=0.02)
