"""Encoders against plain Python, and the laws they promise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from polyrank.data.encoders import Encoders
from polyrank.errors import ConfigError, DataError, PolyrankError
from polyrank.evaluation import NO_GROUP
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Duration,
    Embedding,
    Keys,
    Numeric,
    Schema,
    parse,
)
from polyrank.schema import Sequence as Watched
from tests.data.encoding_oracle import ANCHOR, SCHEMA, TYPES, Oracle, Row, observed, table_of
from tests.data.encoding_oracle import label as label_in

EXTREMES = [0, 1, 2, 3, -1, 2**63 - 1, -(2**63), 2**40]
TEXTS = [
    "a",
    "b",
    "",
    "\u00e9",
    "e\u0301",
    "\U0001f600",
    "a\0",
    "12345678",
    "1234567\u00e9",
    "x" * 300,
]

ids = st.none() | st.sampled_from(EXTREMES) | st.integers(-(2**63), 2**63 - 1)
texts = st.none() | st.sampled_from(TEXTS) | st.text(max_size=20)
numbers = st.none() | st.just(math.nan) | st.integers(-400, 400).map(lambda eighths: eighths / 8)
flags = st.none() | st.sampled_from([0.0, 1.0, math.nan])
lists = st.none() | st.lists(ids, max_size=5)
row_strategy = st.fixed_dictionaries(
    {
        "item": ids,
        "age": numbers,
        "city": texts,
        "query": texts,
        "code": ids,
        "tags": st.none() | st.lists(texts, max_size=4),
        "similar": lists,
        "watched": lists,
        "rank": numbers,
        "price": numbers,
        "length": numbers,
        "raw": numbers,
        "image": st.none() | st.tuples(*[st.floats(-5, 5, width=32)] * 2).map(list),
        "click": flags,
        "buy": flags,
        "buy_known": flags,
        "vote": st.sampled_from([None, "up", "down", "top"]),
        "seen": st.none() | st.integers(0, 10**6).map(float),
        "stars": numbers,
        "user": st.sampled_from([None, "u1", "u2"]),
        "request": st.none() | st.integers(0, 3),
        "weight": st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    }
)
logs = st.lists(row_strategy, max_size=12).map(lambda rows: [*rows, ANCHOR])
few = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def chunks_of(table: pa.Table, cuts: Sequence[int]) -> list[pa.Table]:
    """The table cut at these rows; some chunks may be empty."""
    edges = [0, *sorted(min(cut, table.num_rows) for cut in cuts), table.num_rows]
    return [table.slice(a, b - a) for a, b in pairwise(edges)]


def state_bytes(encoders: Encoders) -> tuple[object, dict[str, bytes]]:
    meta, arrays = encoders.state()
    return meta, {name: array.tobytes() for name, array in arrays.items()}


def log_with(**columns: pa.Array) -> pa.Table:
    """A table of these columns and a label."""
    size = len(next(iter(columns.values())))
    return pa.table({**columns, "click": pa.array([1.0, 0.0] * size)[:size]})


def schema_of(*features: Any, **more: Any) -> Schema:
    return Schema(features=features, tasks=more.pop("tasks", (Binary(name="click"),)), **more)


def ids_of(encoders: Encoders, table: pa.Table) -> list[int]:
    found: list[int] = encoders.encode(table, labels=False).ids_BF[:, 0].tolist()
    return found


@few
@given(train=logs, other=logs, seed=st.integers(0, 3))
def test_encoding_equals_the_plain_second_implementation(
    train: list[Row], other: list[Row], seed: int
) -> None:
    encoders = Encoders.fit(SCHEMA, [table_of(train)], seed=seed)
    oracle = Oracle(train, seed)
    assert encoders.layout.num_rows == oracle.num_rows
    for rows in (train, other):
        batch = encoders.encode(table_of(rows))
        assert batch.ids_BF.tolist() == [oracle.ids(row) for row in rows]
        expected = np.array([oracle.numerics(row) for row in rows])
        np.testing.assert_allclose(batch.numeric_BN.numpy(), expected, rtol=1e-5, atol=1e-6)
        for name in ("tags", "similar", "watched"):
            lists_of = [oracle.ragged(row, name) for row in rows]
            assert batch.ragged[name].lengths_B.tolist() == [len(found) for found in lists_of]
            assert batch.ragged[name].values_V.tolist() == list(chain(*lists_of))
        assert batch.vectors["image"].tolist() == [row["image"] or [0.0, 0.0] for row in rows]


@few
@given(train=logs, rows=logs)
def test_labels_are_seen_only_in_their_sample_space(train: list[Row], rows: list[Row]) -> None:
    batch = Encoders.fit(SCHEMA, [table_of(train)]).encode(table_of(rows))
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    assert batch.weight_B is not None
    for place, task in enumerate(SCHEMA.tasks):
        seen = observed(rows, task)
        assert batch.observed_BT[:, place].tolist() == seen
        labels = [label_in(row, task) if s else 0.0 for row, s in zip(rows, seen, strict=True)]
        assert batch.labels_BT[:, place].tolist() == labels
    assert batch.weight_B.tolist() == [row["weight"] for row in rows]


@few
@given(train=logs)
def test_targets_are_the_weighted_moments_of_the_observed_labels(train: list[Row]) -> None:
    targets = Encoders.fit(SCHEMA, [table_of(train)]).layout.targets
    oracle = Oracle(train)
    for name in SCHEMA.task_names:
        mean, std, count = oracle.stats(name)
        assert targets[name].count == count
        assert targets[name].mean == pytest.approx(mean, rel=1e-9, abs=1e-9)
        assert targets[name].std == pytest.approx(std, rel=1e-6)


@few
@given(train=logs, cuts=st.lists(st.integers(0, 30), max_size=5))
def test_the_cut_into_chunks_changes_no_byte(train: list[Row], cuts: list[int]) -> None:
    table = table_of(train)
    whole, cut = Encoders.fit(SCHEMA, [table]), Encoders.fit(SCHEMA, chunks_of(table, cuts))
    assert state_bytes(whole) == state_bytes(cut)
    assert whole.fingerprint() == cut.fingerprint()
    in_chunks = pa.concat_tables(chunks_of(table, cuts))
    assert torch.equal(whole.encode(table).ids_BF, cut.encode(in_chunks).ids_BF)


@few
@given(train=logs, data=st.data())
def test_the_order_of_the_log_changes_nothing_that_counts(
    train: list[Row], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(train))
    first = Encoders.fit(SCHEMA, [table_of(train)])
    second = Encoders.fit(SCHEMA, [table_of(shuffled)])
    assert state_bytes(first)[1] == state_bytes(second)[1]
    table = table_of(train)
    np.testing.assert_allclose(
        first.encode(table).numeric_BN, second.encode(table).numeric_BN, rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("scaling", ["quantile", "none", "bins"])
def test_minus_zero_is_zero_in_any_order(scaling: str) -> None:
    schema = schema_of(parse(Numeric, {"name": "age", "scaling": scaling}))
    states = [
        state_bytes(Encoders.fit(schema, [log_with(age=pa.array(values))]))
        for values in ([0.0, -0.0, 1.0, -0.0], [-0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0])
    ]
    assert repr(states[0]) == repr(states[1]) == repr(states[2])


@few
@given(train=logs, rows=logs, data=st.data())
def test_a_row_is_encoded_the_same_in_any_company(
    train: list[Row], rows: list[Row], data: st.DataObject
) -> None:
    encoders = Encoders.fit(SCHEMA, [table_of(train)])
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=8))
    part = encoders.encode(table_of([rows[place] for place in chosen]))
    taken = encoders.encode(table_of(rows)).take(torch.tensor(chosen))
    assert torch.equal(part.ids_BF, taken.ids_BF)
    assert torch.equal(part.numeric_BN, taken.numeric_BN)
    assert torch.equal(part.ragged["watched"].values_V, taken.ragged["watched"].values_V)
    for role in ("user", "request"):
        assert part.groups is not None
        assert taken.groups is not None
        assert torch.equal(part.groups[role], taken.groups[role])


@few
@given(train=logs, rows=logs)
def test_every_id_is_a_row_of_its_own_part_of_the_table(train: list[Row], rows: list[Row]) -> None:
    encoders = Encoders.fit(SCHEMA, [table_of(train)])
    batch = encoders.encode(table_of(rows))
    for place, column in enumerate(encoders.layout.ids):
        own = encoders.rows[column.name]
        assert set(batch.ids_BF[:, place].tolist()) <= set(own)
    for ragged in encoders.layout.ragged:
        assert set(batch.ragged[ragged.name].values_V.tolist()) <= set(encoders.rows[ragged.name])
    assert torch.isfinite(batch.numeric_BN).all()
    assert encoders.rows["watched"] == encoders.rows["item"]


@few
@given(train=logs, rows=logs)
def test_scoring_reads_no_label_weight_or_key(train: list[Row], rows: list[Row]) -> None:
    encoders = Encoders.fit(SCHEMA, [table_of(train)])
    table = table_of(rows)
    bare = encoders.encode(table.select(SCHEMA.feature_columns()), labels=False)
    full = encoders.encode(table)
    assert torch.equal(bare.ids_BF, full.ids_BF)
    assert torch.equal(bare.numeric_BN, full.numeric_BN)
    assert (bare.labels_BT, bare.observed_BT, bare.weight_B, bare.groups) == (None,) * 4


def test_nothing_but_the_training_split_reaches_the_state() -> None:
    train = table_of([ANCHOR, {**ANCHOR, "item": 3, "price": 8.0}])
    encoders = Encoders.fit(SCHEMA, [train])
    before = state_bytes(encoders)
    encoders.encode(table_of([{**ANCHOR, "item": 99, "price": 1e9, "city": "new"}]))
    assert state_bytes(encoders) == before


@pytest.mark.parametrize("spread", [1, 2**45])
def test_frequent_ids_come_first_and_ties_go_by_value(spread: int) -> None:
    values = [value * spread for value in (5, 5, 5, -2, 9, 9, 4, 4, 1)]
    log = log_with(item=pa.array(values))
    encoders = Encoders.fit(schema_of(Categorical(name="item", min_frequency=2)), [log])
    asked = pa.table({"item": [value * spread for value in (5, 4, 9, -2, 1, 77)] + [None]})
    assert ids_of(encoders, asked) == [2, 3, 4, 1, 1, 1, 0]
    assert encoders.layout.num_rows == 5


def test_ids_are_compared_byte_by_byte() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    log = log_with(item=pa.array([composed, composed, decomposed, "\u0430", "a"]))
    encoders = Encoders.fit(schema_of(Categorical(name="item", min_frequency=1)), [log])
    asked = pa.table({"item": [composed, decomposed, "a", "\u0430", "A"]})
    assert ids_of(encoders, asked) == [2, 4, 3, 5, 1]


def test_only_the_owner_counts_ids() -> None:
    schema = schema_of(
        Categorical(name="item", min_frequency=2),
        Watched(name="watched", shares="item"),
        Bag(name="similar", shares="item"),
    )
    lists_of = pa.array([[8, 8], [8]], pa.large_list(pa.int64()))
    log = log_with(item=pa.array([1, 1]), watched=lists_of, similar=lists_of)
    batch = Encoders.fit(schema, [log]).encode(log)
    assert batch.ids_BF[:, 0].tolist() == [2, 2]
    assert batch.ragged["watched"].values_V.tolist() == [1, 1, 1]


def test_a_bag_counts_only_the_ids_it_keeps() -> None:
    tags = pa.array([["a", "b", "z"], ["a", "b", "z"]], pa.large_list(pa.large_string()))
    schema = schema_of(Bag(name="tags", max_length=2))
    assert Encoders.fit(schema, [log_with(tags=tags)]).layout.num_rows == 4


def test_ids_that_share_a_hash_bucket_depend_on_the_seed() -> None:
    schema = schema_of(Categorical(name="item", buckets=8))
    log = log_with(item=pa.array([f"id {n}" for n in range(64)]))
    by_seed = [ids_of(Encoders.fit(schema, [log], seed=seed), log) for seed in (0, 0, 1)]
    assert by_seed[0] == by_seed[1] != by_seed[2]
    assert set(by_seed[0]) == set(range(1, 9))


def test_a_hash_spreads_ids_evenly_over_its_buckets() -> None:
    schema = schema_of(Categorical(name="item", buckets=100))
    for values in (pa.array(range(0, 10**9, 10**4)), pa.array([f"v{n}" for n in range(10**5)])):
        counts = np.bincount(
            ids_of(Encoders.fit(schema, [log_with(item=values)]), log_with(item=values))
        )
        chi_square = ((counts[1:] - 1000) ** 2 / 1000).sum()
        assert counts[0] == 0
        assert 40 < chi_square < 180  # 99 degrees of freedom: outside in 2 of a million cases.


def test_ids_of_another_type_than_in_training_are_refused() -> None:
    features = (
        Categorical(name="item", min_frequency=1),
        Categorical(name="code", buckets=9),
        Bag(name="tags", min_frequency=1),
    )
    tags = pa.array([["a"]], pa.large_list(pa.large_string()))
    log = log_with(item=pa.array([1]), code=pa.array([1]), tags=tags)
    encoders = Encoders.fit(schema_of(*features), [log])
    wrong = {
        "item": pa.array(["1"]),
        "code": pa.array(["1"]),
        "tags": pa.array([[1]], pa.large_list(pa.int64())),
    }
    for name, column in wrong.items():
        table = log.set_column(log.column_names.index(name), name, column)
        with pytest.raises(DataError, match=f"feature '{name}', column '{name}': ids are of type"):
            encoders.encode(table, labels=False)
        with pytest.raises(DataError, match="ids are of type"):
            Encoders.fit(encoders.schema, [log, table])


def test_a_list_of_another_type_than_its_owner_is_refused() -> None:
    schema = schema_of(Categorical(name="item"), Watched(name="watched", shares="item"))
    watched = pa.array([["1"]], pa.large_list(pa.large_string()))
    with pytest.raises(DataError, match=r"'watched'.*shares 'item': ids are of type string"):
        Encoders.fit(schema, [log_with(item=pa.array([1]), watched=watched)])


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.timestamp("s")])
def test_ids_are_never_floats(kind: pa.DataType) -> None:
    log = log_with(item=pa.array([1], pa.int64()).cast(kind))
    with pytest.raises(DataError, match="ids are integers or strings"):
        Encoders.fit(schema_of(Categorical(name="item")), [log])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 1, None], pa.int32()),
        pa.array([1, 1, None], pa.uint64()),
        pa.array([True, True, None]),
        pa.array([1, 1, None], pa.int64()).dictionary_encode(),
    ],
)
def test_whole_numbers_of_any_type_are_ids(column: pa.Array) -> None:
    encoders = Encoders.fit(schema_of(Categorical(name="item")), [log_with(item=column)])
    assert ids_of(encoders, pa.table({"item": column})) == [2, 2, 0]


def test_an_integer_beyond_int64_is_refused() -> None:
    log = log_with(item=pa.array([2**63], pa.uint64()))
    with pytest.raises(DataError, match="beyond int64"):
        Encoders.fit(schema_of(Categorical(name="item")), [log])


def test_a_column_that_is_null_throughout_is_missing_throughout() -> None:
    schema = schema_of(
        Categorical(name="item"),
        Categorical(name="code", buckets=4),
        Watched(name="watched", shares="item"),
        Numeric(name="age"),
        Numeric(name="bin", scaling="bins"),
        Embedding(name="image", dim=3),
    )
    log = log_with(**{f.name: pa.nulls(2) for f in schema.features})
    encoders = Encoders.fit(schema, [log])
    typed = pa.table({"item": [1], "code": [1], "watched": [[1]], "age": [2.0], "bin": [2.0]})
    batch = encoders.encode(log)
    assert batch.ids_BF.tolist() == [[0, 2, 7]] * 2
    assert batch.numeric_BN.tolist() == [[0.0, 1.0]] * 2
    assert batch.vectors["image"].tolist() == [[0.0] * 3] * 2
    again = Encoders.from_state(schema, *encoders.state())
    assert again.fingerprint() == encoders.fingerprint()
    assert torch.equal(again.encode(log).ids_BF, batch.ids_BF)
    later = typed.append_column("image", pa.array([[1.0, 2.0, 3.0]]))
    batch = encoders.encode(later, labels=False)
    assert batch.ids_BF[0, [0, 2]].tolist() == [1, 8]
    assert batch.ragged["watched"].values_V.tolist() == [1]
    assert batch.numeric_BN.tolist() == [[0.0, 0.0]]


def test_a_very_long_history_keeps_its_newest_ids() -> None:
    schema = schema_of(
        Categorical(name="item", min_frequency=1),
        Watched(name="watched", shares="item", max_length=3),
        Bag(name="similar", shares="item", max_length=3),
    )
    long = pa.array([list(range(10**5)), [1], None, []], pa.large_list(pa.int64()))
    log = log_with(item=pa.array([99_999, 0, 1, 2]), watched=long, similar=long)
    batch = Encoders.fit(schema, [log.slice(0)]).encode(log)
    assert batch.ragged["watched"].lengths_B.tolist() == [3, 1, 0, 0]
    assert batch.ragged["watched"].values_V.tolist() == [1, 1, 5, 3]
    assert batch.ragged["similar"].values_V.tolist() == [2, 3, 4, 3]


def test_slices_of_a_table_are_read_at_their_place() -> None:
    rows = [{**ANCHOR, "item": n % 5, "city": f"c{n % 3}", "tags": [f"t{n % 4}"], "price": n / 2,
             "watched": [n % 5, 7], "image": [float(n), 1.0]} for n in range(20)]  # fmt: skip
    table = table_of(rows)
    encoders = Encoders.fit(SCHEMA, [table])
    part, whole = encoders.encode(table.slice(7, 6)), encoders.encode(table).slice(7, 13)
    assert torch.equal(part.ids_BF, whole.ids_BF)
    assert torch.equal(part.numeric_BN, whole.numeric_BN)
    assert torch.equal(part.vectors["image"], whole.vectors["image"])
    for name in part.ragged:
        assert torch.equal(part.ragged[name].values_V, whole.ragged[name].values_V)


@pytest.mark.parametrize("scaling", ["quantile", "log", "standard", "none", "bins"])
def test_a_constant_feature_says_nothing(scaling: str) -> None:
    feature = parse(Numeric, {"name": "age", "scaling": scaling})
    log = log_with(age=pa.array([0.1] * 1000))
    batch = Encoders.fit(schema_of(feature), [log]).encode(log)
    if scaling == "bins":
        assert set(batch.ids_BF[:, 0].tolist()) == {1}
    else:
        expected = np.float32(0.1) if scaling == "none" else 0.0
        assert set(batch.numeric_BN[:, 0].tolist()) == {expected}


@pytest.mark.parametrize("scaling", ["quantile", "log", "standard", "none", "bins"])
@pytest.mark.parametrize(
    "values",
    [
        [1.7e308, -1.7e308, 1e38, 0.0],
        [5e-324, -5e-324, 0.0, -0.0],
        [1e-310, 2e-310, 3e-310],
        [1.65e18, 1.65e18 + 256, 1.65e18 + 512],
    ],
)
def test_numbers_at_the_edge_stay_finite(scaling: str, values: list[float]) -> None:
    feature = parse(Numeric, {"name": "age", "scaling": scaling})
    log = log_with(age=pa.array(values))
    encoders = Encoders.fit(schema_of(feature), [log])
    for asked in (values, [1.7e308, -1.7e308, 5e-324, 0.0, 1e300]):
        batch = encoders.encode(pa.table({"age": asked}), labels=False)
        assert torch.isfinite(batch.numeric_BN).all()
        assert (batch.ids_BF < encoders.layout.num_rows).all()


def test_scaled_numbers_keep_to_their_bounds() -> None:
    features = [
        parse(Numeric, {"name": name, "column": "x", "scaling": name})
        for name in ("quantile", "log", "standard")
    ]
    log = log_with(x=pa.array([0.0] * 999 + [1.0]))
    encoders = Encoders.fit(schema_of(*features), [log])
    batch = encoders.encode(pa.table({"x": [-1e30, 1e30]}), labels=False)
    bounds = batch.numeric_BN.abs().amax(0)
    assert bounds.tolist() == pytest.approx([3.0, 10.0, 10.0])


def test_a_large_offset_does_not_drown_the_spread() -> None:
    log = log_with(time=pa.array(1.65e12 + np.arange(200_000.0)))
    batch = Encoders.fit(schema_of(Numeric(name="time", scaling="standard")), [log]).encode(log)
    scaled = batch.numeric_BN[:, 0].double()
    assert scaled.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert scaled.std(correction=0).item() == pytest.approx(1.0, abs=1e-6)


def test_missing_is_flagged_only_if_it_was_seen_in_training() -> None:
    schema = schema_of(Numeric(name="a", side="user"), Numeric(name="b"))
    log = log_with(a=pa.array([1.0, 3.0, 5.0]), b=pa.array([1.0, None, math.nan]))
    encoders = Encoders.fit(schema, [log])
    columns = [(column.name, column.side) for column in encoders.layout.numerics]
    assert columns == [("a", "user"), ("b", "context"), ("b?missing", "context")]
    asked = encoders.encode(
        pa.table(
            {"a": [None, 3.0], "b": [None, 1.0]},
        ),
        labels=False,
    )
    assert asked.numeric_BN[0].tolist() == [asked.numeric_BN[1, 0], 0.0, 1.0]


def test_missing_is_refused_where_the_schema_says_so() -> None:
    schema = schema_of(Numeric(name="age", on_missing="refuse"))
    encoders = Encoders.fit(schema, [log_with(age=pa.array([1.0, 2.0]))])
    with pytest.raises(DataError, match=r"feature 'age', column 'age': 1 values are missing"):
        encoders.encode(pa.table({"age": [1.0, None]}), labels=False)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinity_is_refused(value: float) -> None:
    schema = schema_of(Numeric(name="age"))
    encoders = Encoders.fit(schema, [log_with(age=pa.array([1.0, 2.0]))])
    with pytest.raises(DataError, match="1 values are infinite"):
        encoders.encode(pa.table({"age": [1.0, value]}), labels=False)
    with pytest.raises(DataError, match="1 values are infinite"):
        Encoders.fit(schema, [log_with(age=pa.array([1.0, value]))])


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array(["1", "2"]), "holds no numbers"),
        (pa.array([2**53 + 1, 1]), "cannot hold every value"),
    ],
)
def test_what_is_no_number_is_refused(column: pa.Array, says: str) -> None:
    with pytest.raises(DataError, match=says):
        Encoders.fit(schema_of(Numeric(name="age")), [log_with(age=column)])


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([[1.0], [2.0]]), "no vector of 2 floats"),
        (pa.array(["x", "y"]), "no vector of 2 floats"),
        (pa.array([[1.0, math.nan], [1.0, 2.0]]), "1 vectors hold"),
        (pa.array([[1.0, None], [1.0, 2.0]], pa.list_(pa.float32(), 2)), "1 vectors hold"),
        (pa.array([[1e300, 1.0], [1.0, 2.0]]), "1 vectors hold"),
    ],
)
def test_what_is_no_vector_is_refused(column: pa.Array, says: str) -> None:
    schema = schema_of(Embedding(name="image", dim=2))
    encoders = Encoders.fit(schema, [log_with(image=pa.array([[1.0, 2.0]]))])
    with pytest.raises(DataError, match=says):
        encoders.encode(pa.table({"image": column}), labels=False)


def test_what_is_no_list_is_refused() -> None:
    schema = schema_of(Bag(name="tags"))
    with pytest.raises(DataError, match="no list of ids"):
        Encoders.fit(schema, [log_with(tags=pa.array(["a,b", "c"]))])


def test_missing_columns_are_named_all_at_once() -> None:
    encoders = Encoders.fit(SCHEMA, [table_of([ANCHOR])])
    table = table_of([ANCHOR]).drop_columns(["item", "price", "buy_known", "user"])
    with pytest.raises(DataError, match="'item', 'price', 'buy_known', 'user'"):
        encoders.encode(table)
    with pytest.raises(DataError, match="'item', 'price'"):
        encoders.encode(table, labels=False)
    with pytest.raises(DataError, match="'item', 'price'"):
        Encoders.fit(SCHEMA, [table])


def test_a_training_split_without_rows_is_refused() -> None:
    for chunks in ([], [table_of([ANCHOR]).slice(0, 0)]):
        with pytest.raises(DataError, match="no rows"):
            Encoders.fit(SCHEMA, chunks)


def test_tasks_without_any_label_are_named_all_at_once() -> None:
    unseen = {**ANCHOR, "buy": None, "stars": None}
    with pytest.raises(DataError, match="task 'buy'") as caught:
        Encoders.fit(SCHEMA, [table_of([unseen])])
    assert [problem.where for problem in caught.value.problems] == ["task 'buy'", "task 'stars'"]
    with pytest.raises(DataError, match="task 'click': all 1 observed labels are 0"):
        Encoders.fit(SCHEMA, [table_of([{**ANCHOR, "click": 0.0}])])
    with pytest.raises(DataError, match="task 'stars'"):
        Encoders.fit(SCHEMA, [table_of([{**ANCHOR, "stars": None}])])


@pytest.mark.parametrize("weight", [-1.0, math.nan, None, 1e39, 1e-46])
def test_an_impossible_weight_is_refused(weight: float | None) -> None:
    with pytest.raises(DataError, match="1 weights are missing, negative or beyond float32"):
        Encoders.fit(SCHEMA, [table_of([ANCHOR, {**ANCHOR, "weight": weight}])])


def test_a_label_beyond_float32_is_refused() -> None:
    with pytest.raises(DataError, match=r"task 'stars'.*1 labels are beyond float32"):
        Encoders.fit(SCHEMA, [table_of([{**ANCHOR, "stars": 1e39}])])


@few
@given(train=logs, extra=row_strategy)
def test_weight_zero_removes_a_label_and_weight_two_repeats_it(
    train: list[Row], extra: Row
) -> None:
    def targets(rows: list[Row]) -> dict[str, Any]:
        return Encoders.fit(SCHEMA, [table_of(rows)]).layout.targets

    assert targets([*train, {**extra, "weight": 0.0}]) == targets(train)
    double = targets([*train, {**extra, "weight": 2.0}])
    twice = targets([*train, {**extra, "weight": 1.0}, {**extra, "weight": 1.0}])
    for name, stats in double.items():
        assert stats.mean == pytest.approx(twice[name].mean, rel=1e-9, abs=1e-12)
        assert stats.std == pytest.approx(twice[name].std, rel=1e-6)


def test_a_table_too_large_for_int32_is_refused() -> None:
    schema = schema_of(*(Categorical(name=f"c{n}", buckets=2**30) for n in range(2)))
    with pytest.raises(ConfigError, match="2147483650 rows of table"):
        Encoders.fit(schema, [log_with(c0=pa.array([1]), c1=pa.array([1]))])


def test_unseen_is_the_share_of_ids_out_of_vocabulary() -> None:
    encoders = Encoders.fit(
        SCHEMA, [table_of([{**ANCHOR, "item": 3, "city": "a", "tags": ["x"]}] * 2)]
    )
    rows = [
        {**ANCHOR, "item": 3, "city": None, "tags": ["x", "new"], "watched": [3, 4, 4]},
        {**ANCHOR, "item": 4, "city": None, "tags": ["new"], "watched": []},
        {**ANCHOR, "item": None, "city": None, "query": "new"},
    ]
    shares = encoders.unseen(table_of(rows))
    assert shares.pop("city") != shares.pop("similar")  # Both NaN: there is no id.
    assert shares == {"item": 0.5, "tags": pytest.approx(2 / 3), "watched": pytest.approx(2 / 3)}


def test_keys_have_codes_that_do_not_depend_on_the_chunk() -> None:
    encoders = Encoders.fit(SCHEMA, [table_of([ANCHOR])])
    users = ["u1", "u2", None, "u1", "u3"]
    table = table_of([{**ANCHOR, "user": user} for user in users])
    groups = encoders.encode(table).groups
    assert groups is not None
    codes = groups["user"].tolist()
    assert codes[0] == codes[3]
    assert codes[2] == NO_GROUP
    assert len({codes[0], codes[1], codes[2], codes[4]}) == 4
    alone = encoders.encode(table.slice(4)).groups
    assert alone is not None
    assert alone["user"].tolist() == codes[4:]


def test_without_keys_there_are_no_groups() -> None:
    schema = schema_of(Numeric(name="age"))
    log = log_with(age=pa.array([1.0, 2.0]))
    assert Encoders.fit(schema, [log]).encode(log).groups == {}


def test_the_layout_names_every_column_and_its_side() -> None:
    layout = Encoders.fit(SCHEMA, [table_of([ANCHOR])]).layout
    assert [(c.name, c.side) for c in layout.ids] == [
        ("item", "item"),
        ("age", "user"),
        ("city", "user"),
        ("query", "context"),
        ("code", "context"),
    ]
    pooled = [(c.name, c.pooling, c.target, c.max_length) for c in layout.ragged]
    assert pooled == [
        ("tags", "mean", None, 2),
        ("similar", "mean", None, 2),
        ("watched", "attention", "item", 3),
    ]
    assert [(c.name, c.dim) for c in layout.vectors] == [("image", 2)]
    assert layout.tasks == SCHEMA.task_names


def test_a_duration_is_regressed_in_log_seconds() -> None:
    schema = schema_of(Numeric(name="age"), tasks=(Duration(name="watch", unit="min"),))
    log = pa.table({"age": [1.0, 2.0], "watch": [0.0, 2.0]})
    stats = Encoders.fit(schema, [log]).layout.targets["watch"]
    assert stats.mean == pytest.approx(math.log(121) / 2)
    assert stats.std == pytest.approx(math.log(121) / 2)


@few
@given(values=st.lists(texts, min_size=1, max_size=30), asked=st.lists(texts, max_size=10))
@example(values=["", "", "a"], asked=["", "b"])
def test_strings_beyond_the_vocabulary_are_never_taken_for_one_in_it(
    values: list[str | None], asked: list[str | None]
) -> None:
    log = log_with(item=pa.array(values, pa.large_string()))
    encoders = Encoders.fit(schema_of(Categorical(name="item", min_frequency=1)), [log])
    rows = ids_of(encoders, pa.table({"item": pa.array(asked, pa.large_string())}))
    for value, row in zip(asked, rows, strict=True):
        assert row == (0 if value is None else row)
        assert (row >= 2) == (value is not None and value in values)


def test_a_fitted_encoder_accepts_an_empty_table() -> None:
    encoders = Encoders.fit(SCHEMA, [table_of([ANCHOR])])
    batch = encoders.encode(table_of([ANCHOR]).slice(0, 0))
    assert len(batch) == 0
    assert batch.numeric_BN.shape == (0, len(encoders.layout.numerics))
    assert (
        encoders.encode(pa.table({n: pa.array([], t) for n, t in TYPES.items()})).ids_BF.shape[1]
        == 5
    )


def test_keys_from_a_key_only_schema_are_hashed_by_type() -> None:
    schema = schema_of(Numeric(name="age"), keys=Keys(user="user"))
    for users in (
        pa.array([1, 2, 1]),
        pa.array(["1", "2", "1"]),
        pa.array([1, 2, 1], pa.timestamp("s")),
    ):
        log = log_with(age=pa.array([1.0, 2.0, 3.0]), user=users)
        groups = Encoders.fit(schema, [log]).encode(log).groups
        assert groups is not None
        codes = groups["user"].tolist()
        assert codes[0] == codes[2] != codes[1]


def test_errors_are_errors_for_users() -> None:
    with pytest.raises(PolyrankError) as caught:
        Encoders.fit(SCHEMA, [])
    assert caught.value.exit_code == 3
    assert caught.value.hint
