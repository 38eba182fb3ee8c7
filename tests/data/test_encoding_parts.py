"""Counting, sampling, moments and hashing, each against arithmetic done another way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyrank.data.encoding import vocabulary
from polyrank.data.encoding.counting import IdCounter
from polyrank.data.encoding.hashing import derive_key, hash_ids
from polyrank.data.encoding.lists import ranges
from polyrank.data.encoding.moments import Moments
from polyrank.data.encoding.numeric import NumericFit
from polyrank.data.encoding.sample import Sample
from polyrank.data.encoding.vocabulary import Vocabulary
from polyrank.data.hashing import mix
from polyrank.schema import Numeric
from tests.data.encoding_oracle import hash_id

few = settings(max_examples=30, deadline=None)
INT64 = st.integers(-(2**63), 2**63 - 1)


def cut(values: NDArray[np.float64], cuts: Sequence[int]) -> list[NDArray[np.float64]]:
    edges = [0, *sorted(min(place, len(values)) for place in cuts), len(values)]
    return [values[a:b] for a, b in pairwise(edges)]


@few
@given(values=st.lists(INT64, max_size=20), key=st.integers(0, 2**64 - 1))
def test_the_hash_of_integers_equals_plain_python(values: list[int], key: int) -> None:
    found = hash_ids(pa.array(values, pa.int64()), key)
    assert found.tolist() == [hash_id(value, key) for value in values]


@few
@given(values=st.lists(st.binary(max_size=40), max_size=20), key=st.integers(0, 2**64 - 1))
def test_the_hash_of_strings_equals_plain_python(values: list[bytes], key: int) -> None:
    values = [*values, b"x" * 127, b"x" * 128, b"x" * 129, b"x" * 5000]
    array = pa.array([b"before", *values, b"after"], pa.large_binary())
    found = hash_ids(array.slice(1, len(values)), key)
    assert found.tolist() == [hash_id(value, key) for value in values]


def test_the_hash_is_the_same_on_every_machine() -> None:
    assert hash_ids(pa.array([7]), 1).tolist() == [hash_id(7, 1)]
    assert mix(np.zeros(1, np.uint64)).tolist() == [0xE220A8397B1DCDAF]  # SplitMix64 of seed 0.
    assert derive_key("a", 1) != derive_key("a", "1") != derive_key("a1")


def test_strings_that_differ_in_one_bit_hash_apart() -> None:
    text = bytearray(b"a" * 31)
    texts = [bytes(text)]
    for bit in range(8 * len(text)):
        changed = bytearray(text)
        changed[bit // 8] ^= 1 << bit % 8
        texts.append(bytes(changed))
    hashes = hash_ids(pa.array(texts, pa.large_binary()), 0)
    assert len(set(hashes.tolist())) == len(texts)
    flipped = [bin(int(other) ^ int(hashes[0])).count("1") for other in hashes[1:]]
    assert 30 < np.mean(flipped) < 34


def test_ids_whose_hashes_collide_are_still_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = pa.array([b"left", b"right", b"up"])
    first = derive_key("vocabulary", 0)

    def colliding(values: pa.Array, key: int) -> NDArray[np.uint64]:
        true = hash_ids(values, key)
        return np.zeros_like(true) if key == first else true

    monkeypatch.setattr(vocabulary, "hash_ids", colliding)
    monkeypatch.setattr(vocabulary, "_FEW_TEXTS", 0)
    table = Vocabulary(ids.cast(pa.large_binary()))
    assert table.rows(ids.cast(pa.large_binary())).tolist() == [2, 3, 4]


def test_a_string_with_the_hash_of_a_known_one_is_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    known = pa.array([b"left", b"right"], pa.large_binary())
    table = Vocabulary(known)
    stolen = hash_ids(known, derive_key("vocabulary", 0))

    def forged(values: pa.Array, key: int) -> NDArray[np.uint64]:
        return np.array([stolen[0]] * len(values))

    monkeypatch.setattr(vocabulary, "hash_ids", forged)
    monkeypatch.setattr(vocabulary, "_FEW_TEXTS", 0)
    asked = pa.array([b"forged", b"left", None], pa.large_binary())
    assert table.rows(asked).tolist() == [1, 2, 0]


def test_few_strings_are_found_as_many_are(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [None, "", *(f"{place}\N{SNOWMAN}" for place in range(300))]
    known = pa.array(names[1:200:2], pa.large_binary())
    asked = pa.array(names, pa.large_binary())
    many = Vocabulary(known).rows(asked).tolist()
    few = [Vocabulary(known).rows(asked.slice(start, 40)) for start in range(0, len(names), 40)]
    assert np.concatenate(few).tolist() == many
    expected = [0, *(2 + place // 2 if place % 2 == 0 else 1 for place in range(199))]
    assert many == [*expected, *([1] * (len(names) - 200))]
    monkeypatch.setattr(vocabulary, "_SMALL", 10)
    large = [Vocabulary(known).rows(asked.slice(start, 40)) for start in range(0, len(names), 40)]
    assert np.concatenate(large).tolist() == many


@few
@given(known=st.lists(INT64, min_size=1, max_size=50, unique=True), asked=st.lists(INT64))
def test_far_and_near_integers_are_found(known: list[int], asked: list[int]) -> None:
    for near in (False, True):
        if near:
            known = list(dict.fromkeys(value % 1000 for value in known))
            asked = [value % 2000 - 500 for value in asked]
        rows = Vocabulary(pa.array(known)).rows(pa.array(asked + known, pa.int64()))
        expected = [2 + known.index(value) if value in known else 1 for value in asked + known]
        assert rows.tolist() == expected


@pytest.mark.parametrize("size", [100, 30_000])
@pytest.mark.parametrize("spread", [1, 2**40 + 1])
def test_long_columns_are_found_as_short_ones_are(size: int, spread: int) -> None:
    rng = np.random.default_rng(size)
    known = np.unique(rng.integers(0, 10_000, 5000)) * spread
    asked = rng.integers(0, 10_000, size) * spread
    missing = rng.random(size) < 0.1
    row_of = {int(value): 2 + place for place, value in enumerate(known)}
    expected = [
        0 if gone else row_of.get(int(value), 1) for value, gone in zip(asked, missing, strict=True)
    ]
    rows = Vocabulary(pa.array(known)).rows(pa.array(asked, mask=missing))
    assert rows.tolist() == expected


def test_a_vocabulary_from_minus_to_plus_infinity_is_no_dense_table() -> None:
    ends = [-(2**63), 2**63 - 1]
    table = Vocabulary(pa.array(ends))
    assert table.rows(pa.array([*ends, 0, -1])).tolist() == [2, 3, 1, 1]


@pytest.mark.parametrize("lowest", [-(2**63), 2**63 - 1000, 0])
def test_dense_integers_at_the_edges_of_int64(lowest: int) -> None:
    known = [lowest, lowest + 5, lowest + 999]
    asked = [*known, -(2**63), 2**63 - 1, 0, lowest + 1, (lowest + 1000 + 2**63) % 2**64 - 2**63]
    rows = Vocabulary(pa.array(known)).rows(pa.array(asked, pa.int64()))
    assert rows.tolist() == [2 + known.index(v) if v in known else 1 for v in asked]


@few
@given(
    chunks=st.lists(st.lists(st.none() | st.integers(0, 9)), max_size=6),
    least=st.integers(1, 3),
    most=st.none() | st.integers(1, 4),
)
def test_counts_are_those_of_a_counter(
    chunks: list[list[int | None]], least: int, most: int | None
) -> None:
    counter, texts = IdCounter("ids"), IdCounter("ids")
    for chunk in chunks:
        counter.add(pa.array(chunk, pa.int64()))
        text = [None if value is None else str(value).encode() for value in chunk]
        texts.add(pa.array(text, pa.large_binary()))
    counts = Counter(value for chunk in chunks for value in chunk if value is not None)
    kept = sorted((v for v in counts if counts[v] >= least), key=lambda v: (-counts[v], v))[:most]
    assert counter.most_frequent(min_frequency=least, max_size=most).to_pylist() == kept
    found = texts.most_frequent(min_frequency=least, max_size=most).to_pylist()
    assert found == [str(value).encode() for value in kept]


def test_counts_stay_exact_over_many_merges() -> None:
    counter = IdCounter("ids")
    rng = np.random.default_rng(0)
    values = rng.zipf(1.3, 400_000) % 200_000
    for chunk in np.array_split(values, 40):
        counter.add(pa.array(chunk))
    ids, counts = np.unique(values, return_counts=True)
    order = np.lexsort((ids, -counts))
    expected = ids[order][counts[order] >= 2]
    assert counter.most_frequent(min_frequency=2).to_pylist() == expected.tolist()


@few
@given(
    size=st.integers(0, 2000),
    cap=st.integers(1, 300),
    cuts=st.lists(st.integers(0, 2000), max_size=6),
)
def test_a_sample_is_bounded_and_does_not_depend_on_the_cut(
    size: int, cap: int, cuts: list[int]
) -> None:
    values = np.arange(size, dtype=np.float64)
    whole, parts = Sample(5, cap), Sample(5, cap)
    whole.add(values)
    for part in cut(values, cuts):
        parts.add(part)
    found = whole.sorted()
    assert found.tolist() == parts.sorted().tolist()
    assert whole.exact == parts.exact == (size <= cap)
    assert len(found) == size if size <= cap else len(found) <= cap
    assert set(found) <= set(values)
    assert (np.diff(found) > 0).all()


def test_a_sample_shows_the_distribution_within_its_documented_error() -> None:
    size, cap = 300_000, 8192
    values = np.random.default_rng(1).exponential(size=size)
    values[::16] = 0.0  # A rhythm in the log must not show.
    sample = Sample(derive_key("sample", 0, "x"), cap)
    for part in np.array_split(values, 17):
        sample.add(part)
    found, everything = sample.sorted(), np.sort(values)
    assert cap / 2 * 0.9 < len(found) <= cap
    error = math.sqrt(math.log(2 / 1e-6) / (2 * len(found)))
    steps = np.searchsorted(everything, found, side="right") / size
    mine = np.searchsorted(found, found, side="right") / len(found)
    assert np.abs(steps - mine).max() < error


def test_quantiles_of_a_stream_beyond_the_cap_are_close_to_exact() -> None:
    values = np.random.default_rng(2).lognormal(size=500_000)
    fit = NumericFit(Numeric(name="x"), derive_key("sample", 0, "x"))
    for part in np.array_split(values, 7):
        fit.add(part)
    scaler = fit.finish()
    assert len(scaler.knots) <= 259
    exact = np.sort(values)[[50_000, 250_000, 450_000]]
    scores = scaler.scale(exact)
    expected = [NormalDist().inv_cdf(share) for share in (0.1, 0.5, 0.9)]
    np.testing.assert_allclose(scores, expected, atol=0.02)
    assert scaler.fill == pytest.approx(1.0, rel=0.02)


def test_interpolated_scores_are_close_to_the_normal_scores() -> None:
    values = np.random.default_rng(3).standard_cauchy(100_000)
    fit = NumericFit(Numeric(name="x"), 0)
    fit.add(values)
    ordered = np.sort(values)
    scores = fit.finish().scale(ordered)
    quantiles = (np.arange(len(values)) + 0.5) / len(values)
    expected = np.clip([NormalDist().inv_cdf(q) for q in quantiles], -3, 3)
    inner = np.abs(expected) < 2.5
    assert np.abs(scores - expected)[inner].max() < 0.02
    assert np.abs(scores - expected).max() < 0.3
    assert (np.diff(scores) >= 0).all()


def test_bins_hold_equal_shares() -> None:
    values = np.random.default_rng(4).normal(size=64_000)
    fit = NumericFit(Numeric(name="x", scaling="bins", num_bins=32), 0)
    fit.add(values)
    counts = np.bincount(fit.finish().rows(values))
    assert counts[0] == 0
    assert (counts[1:] == 2000).all()


@few
@given(
    pairs=st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.sampled_from([0.0, 0.5, 1.0, 2.0])), max_size=40
    ),
    cuts=st.lists(st.integers(0, 40), max_size=4),
)
def test_moments_are_those_of_exact_arithmetic(
    pairs: list[tuple[float, float]], cuts: list[int]
) -> None:
    moments = Moments()
    values, weights = np.array(pairs).reshape(-1, 2).T
    for part, weight in zip(cut(values, cuts), cut(weights, cuts), strict=True):
        moments.add(part, weight)
    mean, std = moments.result()
    exact = [(Fraction(value), Fraction(weight)) for value, weight in pairs if weight > 0]
    assert moments.count == len(exact)
    if not exact:
        assert math.isnan(mean)
        assert math.isnan(std)
        return
    total = sum(weight for _, weight in exact)
    expected = sum(value * weight for value, weight in exact) / total
    variance = sum(weight * (value - expected) ** 2 for value, weight in exact) / total
    largest = max(abs(value) for value, _ in pairs)
    assert mean == pytest.approx(float(expected), abs=1e-14 * largest + 1e-300)
    assert std == pytest.approx(math.sqrt(variance), rel=1e-9, abs=1e-13 * largest)


def test_moments_of_many_blocks_keep_their_bits_whatever_the_cut() -> None:
    values = 1e9 + np.random.default_rng(5).normal(size=300_000)
    weights = np.random.default_rng(6).choice([0.0, 1.0, 2.0], 300_000)
    results = []
    for cuts in ([], [1], [65_536], [65_535, 131_073, 200_000]):
        moments = Moments()
        for part, weight in zip(cut(values, cuts), cut(weights, cuts), strict=True):
            moments.add(part, weight)
        results.append(moments.result())
    assert len(set(results)) == 1
    mean = np.average(values, weights=weights)
    assert results[0][0] == pytest.approx(mean, rel=1e-15)
    deviation = math.sqrt(np.average((values - mean) ** 2, weights=weights))
    assert results[0][1] == pytest.approx(deviation, rel=1e-9)


@few
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=10))
def test_ranges_follow_each_other(pairs: list[tuple[int, int]]) -> None:
    firsts, lengths = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    expected = [number for first, length in pairs for number in range(first, first + length)]
    assert ranges(firsts, lengths).tolist() == expected
