"""Whatever the columns are called and hold: a valid schema that survives YAML, or a clear error."""

import datetime
import decimal
import io
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from polyrank.errors import PolyrankError
from polyrank.schema import Schema, guess_schema, parse, to_yaml
from polyrank.schema.guess import Guess
from tests.schema.logs import BASIC, ROWS, log, parts
from tests.schema.trees import HOSTILE

P = parts()


def check(guess: Guess, table: pa.Table) -> None:
    """What holds of every guess."""
    schema = guess.schema
    tree = YAML(typ="safe", pure=True).load(io.StringIO(to_yaml(guess)))
    assert parse(Schema, tree) == schema
    features, labels = set(schema.feature_columns()), set(schema.label_columns())
    assert not features & labels
    used = features | labels | set(schema.keys.named().values())
    assert used <= set(table.column_names)
    ignored = {place.removeprefix("ignored.") for place in guess.notes if "ignored." in place}
    assert ignored | used >= {name for name in table.column_names if 0 < len(name) <= 256}
    assert not ignored & (features | labels)
    assert not any(column.startswith("truth_") for column in used)


def guess_or_error(table: pa.Table, **more: Any) -> Guess | PolyrankError:
    try:
        return guess_schema(table, **more)
    except PolyrankError as error:
        return error


hostile_names = st.sampled_from(
    [
        *HOSTILE,
        "",
        " ",
        ".",
        "x" * 300,
        "is click",
        "is.click",
        "user id",
        "line\nbreak",
        "click\t",
        "喜欢_like",
        "a/b",
        "a b",
        "a_b",
        "a.b",
        "...",
        "truth_",
        "mask",
        "is",
        "_",
        "1",
    ]
) | st.text(max_size=8)


@settings(max_examples=40)
@given(st.lists(hostile_names, min_size=1, max_size=8, unique=True), st.randoms())
def test_hostile_names(columns: list[str], random: Any) -> None:
    table = log(BASIC)
    known = {*table.column_names, "", *[name for name in columns if len(name) > 256]}
    fillings = ["click", "like", "seconds", "city", "hour", "genres", "past", "real", "vector"]
    for name in columns:
        if name not in table.column_names:
            table = table.append_column(name, pa.array(P[random.choice(fillings)]))
    guess = guess_schema(table)
    check(guess, table)
    assert len(set(guess.schema.task_names)) == len(guess.schema.tasks)
    assert known & {task.label for task in guess.schema.tasks} == {"click", "like"}


def test_names_are_close_to_the_columns_and_unique() -> None:
    table = log(BASIC)
    for name in ["is a", "is.a", "is_a", "is/a"]:
        table = table.append_column(name, pa.array(P["click"]))
    for name in ["x y", "x_y", "x.y", " ", "\n"]:
        table = table.append_column(name, pa.array(P["hour"]))
    schema = guess_schema(table).schema
    assert [task.name for task in schema.tasks][2:] == ["is_a", "is_a_2", "is_a_3", "is_a_4"]
    names = {feature.column: feature.name for feature in schema.features}
    assert [names[column] for column in ("x y", "x_y", "x.y", " ", "\n")] == [
        "x_y",
        "x_y_2",
        "x_y_3",
        "_",
        "__2",
    ]
    long = table.append_column("l" * 200, pa.array(P["hour"]))
    long = long.append_column("l" * 201, pa.array(P["hour"]))
    found = [feature.name for feature in guess_schema(long).schema.features][-2:]
    assert found == ["l" * 128, "l" * 126 + "_2"]


def nested(rows: int) -> dict[str, pa.Array]:
    """Columns of the types that Arrow has and features have not."""
    day = datetime.date(2024, 1, 1)
    numbers = list(range(rows))
    texts = pa.array([f"t{i % 5}" for i in numbers])
    return {
        "struct": pa.array([{"a": i, "b": [i]} for i in numbers]),
        "map": pa.array([[("k", i)] for i in numbers], pa.map_(pa.string(), pa.int64())),
        "binary": pa.array([b"\xff\x00"] * rows),
        "large_binary": pa.array([b"x"] * rows, pa.large_binary()),
        "fixed_binary": pa.array([b"ab"] * rows, pa.binary(2)),
        "binary_view": pa.array([b"ab"] * rows, pa.binary_view()),
        "null": pa.nulls(rows),
        "time32": pa.array(numbers, pa.time32("s")),
        "time64": pa.array(numbers, pa.time64("us")),
        "duration": pa.array(numbers, pa.duration("ms")),
        "interval": pa.array(
            [pa.MonthDayNano([1, 2, i]) for i in numbers], pa.month_day_nano_interval()
        ),
        "date64": pa.array([day] * rows, pa.date64()),
        "far_date": pa.array([2**31 - 1 - i for i in numbers], pa.int32()).cast(pa.date32()),
        "far_time": pa.array([2**63 - 1 - i for i in numbers]).cast(pa.timestamp("s")),
        "nano": pa.array([i * 1001 + 1 for i in numbers], pa.timestamp("ns", "UTC")),
        "list_of_list": pa.array([[[i % 3]] for i in numbers]),
        "list_of_struct": pa.array([[{"a": 1}]] * rows),
        "list_of_bool": pa.array([[True, False]] * rows),
        "list_of_null": pa.array([[None]] * rows),
        "list_of_date": pa.array([[day]] * rows),
        "list_of_dictionary": pa.array(
            [["a", "b"], ["c"]] * (rows // 2), pa.list_(pa.dictionary(pa.int8(), pa.string()))
        ),
        "list_of_decimal": pa.array([[decimal.Decimal("1.5")]] * rows),
        "list_of_large": pa.array([[2**63 + 1]] * rows, pa.list_(pa.uint64())),
        "list_view": pa.array([[i % 3] for i in numbers], pa.list_view(pa.int64())),
        "fixed_list_of_text": pa.array([["a", "b"]] * rows, pa.list_(pa.string(), 2)),
        "fixed_list": pa.array([[0.5, 1.0]] * (rows - 1) + [None], pa.list_(pa.float32(), 2)),
        "fixed_list_of_zero": pa.array([[]] * rows, pa.list_(pa.float32(), 0)),
        "half": pa.array([np.float16(i % 7) for i in numbers], pa.float16()),
        "decimal": pa.array([decimal.Decimal(i) for i in numbers], pa.decimal128(38, 0)),
        "decimal256": pa.array([decimal.Decimal(10) ** 60] * rows, pa.decimal256(70, 0)),
        "decimal_shifted": pa.array([decimal.Decimal(100)] * rows, pa.decimal128(10, -2)),
        "uint64": pa.array([2**64 - 1 - i for i in numbers], pa.uint64()),
        "dictionary": texts.dictionary_encode(),
        "dictionary_of_date": pa.array([day] * rows).dictionary_encode(),
        "string_view": texts.cast(pa.string_view()),
        "runs": pa.RunEndEncodedArray.from_arrays([rows // 2, rows], ["a", "b"]),
        "union": pa.UnionArray.from_sparse(
            pa.array([i % 2 for i in numbers], pa.int8()), [pa.array(numbers), texts]
        ),
        "not_utf8": pa.array([b"\xff\xfe", b"ok"] * (rows // 2)).view(pa.string()),
        "nan": pa.array([math.nan] * rows),
        "extreme": pa.array([-(2**63), 2**63 - 1] * (rows // 2)),
        "huge": pa.array([1e308, -1e308] * (rows // 2)),
        "uuid": pa.array([bytes([i % 256]) * 16 for i in numbers], pa.binary(16)).cast(pa.uuid()),
    }


NESTED = nested(ROWS)


@pytest.mark.parametrize("kind", NESTED)
def test_every_type_of_arrow(kind: str) -> None:
    table = log(BASIC).append_column("strange", NESTED[kind])
    guess = guess_schema(table)
    check(guess, table)
    usable = {
        "list_of_dictionary",
        "fixed_list_of_text",
        "fixed_list",
        "half",
        "dictionary",
        "string_view",
        "runs",
        "huge",
    }
    usable |= {"extreme", "list_of_decimal"}
    assert ("ignored.strange" in guess.notes) == (kind not in usable)


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize(
    "name", ["click_id", "play_time_ms", "time", "is_like", "hist_items", "user"]
)
def test_every_type_under_a_name_that_promises_something(kind: str, name: str) -> None:
    table = log({"click": "click", "item_id": "item", "real": "real"})
    table = table.append_column(name, NESTED[kind])
    check(guess_schema(table), table)
    asked = guess_or_error(table, labels={"x": name})
    if isinstance(asked, PolyrankError):
        assert asked.where == "label 'x'"
    else:
        check(asked, table)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.integers(), st.floats(), st.text(max_size=3)
)


@st.composite
def any_column(draw: st.DrawFn, rows: int) -> pa.Array:
    kinds: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
        (pa.bool_(), st.booleans()),
        (pa.int64(), st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)),
        (pa.int8(), st.integers(-1, 1)),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.float64(), st.floats() | st.sampled_from([0.0, 1.0])),
        (pa.string(), st.text(max_size=3) | st.sampled_from(["a b", "a,b", "b,a", "1", "0"])),
        (pa.timestamp("us"), st.integers(0, 2**50)),
        (pa.date32(), st.integers(0, 20_000)),
        (pa.list_(pa.int64()), st.lists(st.integers(0, 3), max_size=3)),
        (pa.list_(pa.string()), st.lists(st.sampled_from(["a", "b", ""]), max_size=3)),
        (pa.list_(pa.float64()), st.lists(st.floats(), min_size=2, max_size=2)),
    ]
    dtype, values = draw(st.sampled_from(kinds))
    return pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), dtype)


PROMISING = """click is_like purchase report user_id item_id request_id time timestamp date
position propensity weight play_time_ms watch_time rating watch_ratio like_mask hist_items tags
vector age price hour city x y duration revenue num_likes truth_x is_x"""
NAMES = st.sampled_from(PROMISING.split())


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_values_under_any_name(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 12))
    names = data.draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    table = pa.table({name: data.draw(any_column(rows)) for name in names})
    labels = data.draw(st.none() | st.sampled_from(names).map(lambda name: {"asked": name}))
    guess = guess_or_error(table, labels=labels)
    if isinstance(guess, Guess):
        check(guess, table)
    side = table.append_column("user_id", pa.array(range(rows)))
    joined = guess_or_error(log(BASIC), tables={"t": side})
    assert isinstance(joined, Guess) or "name columns twice" in joined.message or "user_id" in names


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(0, 9))
def test_few_rows(rows: int, seed: int) -> None:
    table = log({**BASIC, "request_id": "request", "watch_s": "seconds"}, seed, rows)
    guess = guess_or_error(table)
    if isinstance(guess, Guess):
        check(guess, table)
    else:
        assert "looks like a label" in guess.message


def test_chunks_change_nothing() -> None:
    table = log({**BASIC, "genres": "genres", "past": "past", "city": "city"})
    cut = pa.concat_tables([table.slice(0, 7), table.slice(7, 0), table.slice(7)])
    cut = cut.set_column(0, "user_id", cut.column(0).cast(pa.int32()))
    coded = pa.chunked_array([c.dictionary_encode() for c in cut.column("city").chunks])
    cut = cut.set_column(cut.column_names.index("city"), "city", coded)
    assert guess_schema(cut) == guess_schema(table)
