from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from polyrank.data.canonical import canonical_table
from polyrank.data.preflight import inspect_source
from polyrank.data.roles import Role, Use, Wanted
from polyrank.data.source import open_log
from polyrank.errors import DataError

TEXT = pa.large_string()
TAGS = [["a"], ["b", None], [], None]


def dictionary(values: Any) -> Any:
    return pa.array(values).dictionary_encode()


def runs(values: Any) -> Any:
    return pa.RunEndEncodedArray.from_arrays(pa.array([2, 4], pa.int32()), pa.array(values))


def decimals(dtype: Any) -> Any:
    return pa.array([1, 2, None, 3]).cast(pa.decimal128(30, 0)).cast(dtype)


# (role, array, the type handed on or None where it is refused, the values handed on)
PAIRS: list[tuple[Role, Any, Any, Any]] = [
    *[
        ("id", pa.array([1, 2, None], dtype), pa.int64(), [1, 2, None])
        for dtype in (
            pa.int8(),
            pa.int16(),
            pa.int32(),
            pa.int64(),
            pa.uint8(),
            pa.uint16(),
            pa.uint32(),
            pa.uint64(),
        )
    ],
    *[
        ("id", pa.array(["x", None], dtype), TEXT, ["x", None])
        for dtype in (pa.string(), pa.large_string(), pa.string_view())
    ],
    *[
        ("id", pa.array([1.0, None], dtype), pa.int64(), [1, None])
        for dtype in (pa.float16(), pa.float32(), pa.float64())
    ],
    ("id", pa.array([True, False]), pa.int64(), [1, 0]),
    ("id", decimals(pa.decimal128(20, 0)), pa.int64(), [1, 2, None, 3]),
    ("id", decimals(pa.decimal256(40, 0)), pa.int64(), [1, 2, None, 3]),
    ("id", decimals(pa.decimal128(20, 2)), None, None),
    ("id", dictionary(["x", "y", "x"]), TEXT, ["x", "y", "x"]),
    ("id", dictionary([5, 6, 5]), pa.int64(), [5, 6, 5]),
    ("id", runs([7, 8]), pa.int64(), [7, 7, 8, 8]),
    ("id", runs(["a", "b"]), TEXT, ["a", "a", "b", "b"]),
    ("id", pa.nulls(2), pa.null(), [None, None]),
    ("id", pa.array([b"x"]), None, None),
    ("id", pa.array([[1]]), None, None),
    ("id", pa.array([{"a": 1}]), None, None),
    ("id", pa.array([1], pa.date32()), None, None),
    ("id", pa.array([1], pa.timestamp("ms")), None, None),
    ("id", pa.array([1], pa.duration("s")), None, None),
    ("number", pa.array([1, None], pa.int8()), pa.float64(), [1.0, None]),
    ("number", pa.array([2**63], pa.uint64()), pa.float64(), [2.0**63]),
    ("number", pa.array([1.5, None], pa.float32()), pa.float64(), [1.5, None]),
    ("number", decimals(pa.decimal128(20, 2)), pa.float64(), [1.0, 2.0, None, 3.0]),
    ("number", pa.array([True, None]), pa.float64(), [1.0, None]),
    ("number", dictionary([1.5, 2.5]), pa.float64(), [1.5, 2.5]),
    ("number", pa.nulls(1), pa.float64(), [None]),
    ("number", pa.array(["1"]), None, None),
    ("number", pa.array([1], pa.timestamp("s")), None, None),
    ("number", pa.array([[1.0]]), None, None),
    ("label", pa.array([0, 1, None], pa.int8()), pa.float64(), [0.0, 1.0, None]),
    ("label", pa.array([True, False, None]), pa.float64(), [1.0, 0.0, None]),
    ("label", pa.array(["yes"]), None, None),
    ("label", pa.array([1], pa.duration("ms")), None, None),
    ("mask", pa.array([True, None]), pa.float64(), [1.0, None]),
    ("mask", pa.array(["1"]), None, None),
    ("time", pa.array([5], pa.uint32()), pa.int64(), [5]),
    ("time", pa.array([5.0, None]), pa.int64(), [5, None]),
    ("time", pa.array([5], pa.date32()), pa.date32(), None),
    ("time", pa.array([86_400_000], pa.date64()), pa.date32(), None),
    ("time", pa.array([5], pa.timestamp("ms")), pa.timestamp("ms"), None),
    ("time", pa.array([5], pa.timestamp("us", "Asia/Tokyo")), pa.timestamp("us", "UTC"), None),
    ("time", pa.array(["2022-04-25"]), None, None),
    ("time", pa.array([5], pa.time32("s")), None, None),
    ("position", pa.array([1, None], pa.uint8()), pa.int64(), [1, None]),
    ("position", pa.array([1.0]), pa.int64(), [1]),
    ("position", pa.array(["1"]), None, None),
    ("amount", pa.array([1, None], pa.int32()), pa.float64(), [1.0, None]),
    ("amount", pa.array([True]), None, None),
    *[
        ("ids", pa.array(TAGS, dtype), pa.large_list(TEXT), TAGS)
        for dtype in (
            pa.list_(pa.string()),
            pa.large_list(pa.large_string()),
            pa.list_view(pa.string()),
            pa.large_list_view(pa.string_view()),
            pa.list_(pa.dictionary(pa.int8(), pa.string())),
        )
    ],
    (
        "ids",
        pa.array([[1], [], None], pa.list_(pa.int16())),
        pa.large_list(pa.int64()),
        [[1], [], None],
    ),
    ("ids", pa.array([[1, 2]], pa.list_(pa.int16(), 2)), pa.large_list(pa.int64()), [[1, 2]]),
    ("ids", pa.array([[1.0, None]]), pa.large_list(pa.int64()), [[1, None]]),
    ("ids", pa.nulls(2), pa.null(), [None, None]),
    ("ids", pa.array([[], None], pa.list_(pa.null())), pa.large_list(pa.null()), [[], None]),
    ("ids", pa.array(["a|b"]), None, None),
    ("ids", pa.array([[True]]), None, None),
    ("ids", pa.array([[[1]]]), None, None),
    ("joined_ids", pa.array([" a | b||", "", None]), pa.large_list(TEXT), [["a", "b"], [], None]),
    ("joined_ids", pa.array([["a"], None]), pa.large_list(TEXT), [["a"], None]),
    ("joined_ids", pa.array([7]), None, None),
    (
        "vector",
        pa.array([[1, 2], None], pa.list_(pa.int8())),
        pa.list_(pa.float32(), 2),
        [[1, 2], None],
    ),
    (
        "vector",
        pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)),
        pa.list_(pa.float32(), 2),
        [[1, 2]],
    ),
    (
        "vector",
        pa.array([[1.0, 2.0]], pa.large_list(pa.float16())),
        pa.list_(pa.float32(), 2),
        [[1, 2]],
    ),
    ("vector", pa.nulls(2), pa.list_(pa.float32(), 2), [None, None]),
    ("vector", pa.array([1.0]), None, None),
    ("vector", pa.array([["a", "b"]]), None, None),
    ("compared", pa.array([b"x"]), None, None),
    ("compared", pa.array([[1.5]]), pa.large_list(pa.float64()), [[1.5]]),
    ("passed", pa.array([b"x"]), pa.binary(), [b"x"]),
    ("passed", pa.array([{"a": 1}]), pa.struct([("a", pa.int64())]), [{"a": 1}]),
]


def use(role: Role) -> Use:
    return Use(role, "the test", dim=2, separator="|" if role == "joined_ids" else "")


def read(role: Role, *arrays: Any) -> Any:
    wanted = {"x": Wanted("x", (use(role),))}
    source = open_log([pa.table({"x": array}) for array in arrays])
    source, columns, problems = inspect_source(source, wanted)
    if problems:
        raise problems[0]
    tables = []
    for chunk in source.chunks():
        table, faults = canonical_table(chunk, columns)
        assert not faults
        tables.append(table.column("x"))
    return pa.chunked_array([chunk for table in tables for chunk in table.chunks])


def test_there_are_as_many_pairs_as_promised() -> None:
    assert len(PAIRS) >= 40


@pytest.mark.parametrize(
    ("role", "array", "dtype", "values"),
    PAIRS,
    ids=[f"{role} from {array.type}-{place}" for place, (role, array, _, _) in enumerate(PAIRS)],
)
def test_only_casts_that_lose_nothing(role: Role, array: Any, dtype: Any, values: Any) -> None:
    if dtype is None:
        with pytest.raises(DataError, match="column 'x' .the test. is ") as caught:
            read(role, array)
        assert caught.value.hint
        assert caught.value.where == "table"
        return
    found = read(role, array)
    assert found.type == dtype
    expected = array.cast(dtype).to_pylist() if values is None else values
    assert found.to_pylist() == expected


@pytest.mark.parametrize(
    ("role", "one", "other", "dtype"),
    [
        ("id", pa.int8(), pa.int64(), pa.int64()),
        ("id", pa.string(), pa.large_string(), TEXT),
        ("id", pa.null(), pa.string(), TEXT),
        ("id", pa.int64(), pa.string(), None),
        ("number", pa.int8(), pa.float32(), pa.float64()),
        ("time", pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("us")),
        (
            "time",
            pa.timestamp("s", "UTC"),
            pa.timestamp("ms", "Asia/Tokyo"),
            pa.timestamp("ms", "UTC"),
        ),
        ("time", pa.timestamp("s"), pa.timestamp("s", "UTC"), None),
        ("time", pa.int32(), pa.uint8(), pa.int64()),
        ("time", pa.int64(), pa.timestamp("s"), None),
        ("time", pa.date32(), pa.timestamp("s"), None),
        ("ids", pa.list_(pa.int8()), pa.large_list(pa.int64()), pa.large_list(pa.int64())),
        ("ids", pa.list_(pa.int8()), pa.list_(pa.string()), None),
        ("joined_ids", pa.string(), pa.list_(pa.string()), None),
        ("named_label", pa.int8(), pa.float64(), pa.float64()),
        ("compared", pa.int8(), pa.int64(), pa.int64()),
        ("compared", pa.int8(), pa.float64(), pa.float64()),
        ("compared", pa.int8(), pa.string(), None),
        ("passed", pa.binary(), pa.binary(), pa.binary()),
        ("passed", pa.null(), pa.null(), pa.null()),
    ],
)
def test_files_that_differ_agree_or_are_refused(
    role: Role, one: Any, other: Any, dtype: Any
) -> None:
    arrays = [pa.nulls(1, dtype) for dtype in (one, other)]
    if role == "named_label":
        wanted = {"x": Wanted("x", (Use(role, "the test", positive=(1,)),))}
        source = open_log([pa.table({"x": array}) for array in arrays])
        assert inspect_source(source, wanted)[1]["x"].dtype == dtype
    elif dtype is None:
        with pytest.raises(DataError, match="in different files"):
            read(role, *arrays)
    else:
        assert read(role, *arrays).type == dtype


def named(positive: tuple[int | str, ...], dtype: Any) -> Iterator[Any]:
    wanted = {"x": Wanted("x", (Use("named_label", "the test", positive=positive),))}
    source = open_log(pa.table({"x": pa.nulls(1, dtype)}))
    _, columns, problems = inspect_source(source, wanted)
    yield from (problems or [columns["x"].dtype])


@pytest.mark.parametrize(
    ("positive", "dtype", "handed_on"),
    [
        ((4, 5), pa.int64(), pa.float64()),
        (("yes",), pa.string(), TEXT),
        (("yes", 1), pa.string(), TEXT),
        (("yes", 1), pa.int8(), pa.float64()),
        (("yes",), pa.int8(), None),
        ((1,), pa.string(), None),
    ],
)
def test_positive_values_are_of_the_columns_own_type(
    positive: tuple[int | str, ...], dtype: Any, handed_on: Any
) -> None:
    (found,) = named(positive, dtype)
    if handed_on is None:
        assert "its `positive` values are of another type" in str(found)
    else:
        assert found == handed_on


@pytest.mark.parametrize(
    ("role", "array", "rows", "rule"),
    [
        ("id", pa.array([1, 2**63], pa.uint64()), [1], "within int64"),
        ("id", pa.array([10**20, 1], pa.decimal128(21, 0)), [0], "within int64"),
        (
            "id",
            pa.array([1.5, 2.0, float("inf"), float("nan"), 2.0**53, 2.0**53 + 2]),
            [0, 2, 5],
            "whole",
        ),
        ("id", pa.array([2.0**24, 2.0**24 + 2], pa.float32()), [1], "16777216 in float"),
        ("ids", pa.array([[1.0], [1.5, 2.5], [2.0]]), [1], "whole"),
        ("position", pa.array([0.5]), [0], "whole"),
        ("time", pa.array([1.5]), [0], "whole"),
    ],
)
def test_values_that_a_cast_would_lose_are_faults(
    role: Role, array: Any, rows: list[int], rule: str
) -> None:
    wanted = {"x": Wanted("x", (use(role),))}
    source, columns, problems = inspect_source(open_log(pa.table({"x": array})), wanted)
    assert not problems
    (chunk,) = source.chunks()
    table, (fault,) = canonical_table(chunk, columns)
    assert fault.rows_K.tolist() == rows
    assert rule in fault.rule.text
    assert fault.values.to_pylist() == [array[row].as_py() for row in rows]
    if role != "ids":
        assert [table.column("x")[row].as_py() for row in rows] == [None] * len(rows)
