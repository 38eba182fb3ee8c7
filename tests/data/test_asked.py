"""Requests are read by the rules of a log, whatever their columns and however many kinds come."""

from __future__ import annotations

import pyarrow as pa
import pytest

from polyrank.data import AskedRows, asked
from polyrank.errors import DataError
from polyrank.schema import Bag, Binary, Categorical, Numeric, Schema

SCHEMA = Schema(
    features=(
        Numeric(name="age", side="user"),
        Categorical(name="item", side="item", missing_values=("none",)),
        Bag(name="tags", side="item"),
    ),
    tasks=(Binary(name="click"),),
)
USER = pa.table({"age": [30.0]})


def rows(item: object, tags: object) -> pa.Table:
    return pa.table({"tags": tags, "item": item})


def test_what_needs_no_cast_is_handed_on_as_a_cast_would() -> None:
    given = pa.array([["a", None], None, []], pa.large_list(pa.large_string()))
    user, found = AskedRows(SCHEMA).read(
        USER, rows(pa.array(["x", "none", None], pa.large_string()), given)
    )
    assert user.schema.types == [pa.float64()]
    assert found.to_pydict() == {"item": ["x", None, None], "tags": [["a", None], None, []]}
    assert found.schema.types == [pa.large_string(), pa.large_list(pa.large_string())]
    chunks = pa.chunked_array([[[1]], [[2, None]]], pa.large_list(pa.int64()))
    _, found = AskedRows(SCHEMA).read(USER, rows(pa.chunked_array([[1], [2]]), chunks))
    assert found.to_pydict() == {"item": [1, 2], "tags": [[1], [2, None]]}


def test_text_that_is_not_utf8_is_refused_and_what_no_list_holds_is_not_looked_at() -> None:
    def of(values: list[bytes]) -> pa.Array:
        return pa.array(values, pa.large_binary()).view(pa.large_string())

    def lists(mask: list[bool]) -> pa.Array:
        offsets = pa.array([0, 1, 2], pa.int64())
        values = of([b"a", b"\xff"])
        return pa.LargeListArray.from_arrays(offsets, values, mask=pa.array(mask))

    reader = AskedRows(SCHEMA)
    with pytest.raises(DataError, match="UTF-8"):
        reader.read(USER, rows(of([b"a", b"\xff"]), pa.nulls(2)))
    with pytest.raises(DataError, match="UTF-8"):
        reader.read(USER, rows(["a", "b"], lists([False, False])))
    _, found = reader.read(USER, rows(["a", "b"], lists([False, True])))
    assert found["tags"].to_pylist() == [["a"], None]


def test_rows_of_which_nothing_is_read_are_as_many() -> None:
    schema = Schema(features=(Numeric(name="age", side="user"),), tasks=SCHEMA.tasks)
    _, found = AskedRows(schema).read(USER, pa.table({"other": [1, 2, 3]}))
    assert (found.num_rows, found.num_columns) == (3, 0)


def test_so_many_kinds_of_requests_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "MAX_PLANS", 2)
    reader = AskedRows(SCHEMA)
    for _ in range(2):
        for dtype in (pa.int8(), pa.int16(), pa.int32(), pa.int64()):
            _, found = reader.read(USER, rows(pa.array([1], dtype), pa.nulls(1)))
            assert found["item"].type == pa.int64()
            assert len(reader._plans) <= 2
