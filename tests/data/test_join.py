from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.data.join import Join, load_side_table
from polyrank.data.key_index import DenseIndex, SortedIndex, TextIndex, index_of
from polyrank.data.reader import Reader
from polyrank.data.source import open_log
from polyrank.errors import ConfigError, DataError, PolyrankError
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Embedding,
    Keys,
    Numeric,
    Schema,
    SideTable,
)
from polyrank.schema import Sequence as Watched
from tests.data.impressions import write_csv

INTEGERS = st.integers(-(2**63), 2**63 - 1)
DENSE = st.integers(-50, 50)
TEXTS = st.text(max_size=4)


@given(
    st.one_of(
        *(
            st.tuples(st.lists(keys, unique=True, max_size=30), st.lists(st.none() | keys))
            for keys in (INTEGERS, DENSE, TEXTS)
        )
    )
)
def test_every_index_finds_what_a_dictionary_finds(case: tuple[list[Any], list[Any]]) -> None:
    keys, wanted = case
    text = any(isinstance(key, str) for key in [*keys, *wanted])
    dtype = pa.large_string() if text else pa.int64()
    index = index_of(pa.array(keys, dtype))
    places = {key: place for place, key in enumerate(keys)}
    expected = [-1 if key is None else places.get(key, -1) for key in wanted]
    assert index.find(pa.array(wanted, dtype)).tolist() == expected


def test_the_index_is_the_one_that_fits() -> None:
    assert isinstance(index_of(pa.array(range(1000))), DenseIndex)
    assert isinstance(index_of(pa.array([0, 2**40])), SortedIndex)
    assert isinstance(index_of(pa.array([-(2**63), 2**63 - 1])), SortedIndex)
    assert isinstance(index_of(pa.array([], pa.int64())), SortedIndex)
    assert isinstance(index_of(pa.array(["a"])), TextIndex)


def test_two_texts_with_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from polyrank.data import key_index

    index = index_of(pa.array(["known"]))
    known = key_index.hash_column(pa.array(["known"]), index._seed)  # type: ignore[attr-defined]
    monkeypatch.setattr(key_index, "hash_column", lambda array, seed: np.repeat(known, len(array)))
    assert index.find(pa.array(["known", "forged"])).tolist() == [0, -1]


def schema_of(features: Iterable[Any], *tables: SideTable) -> Schema:
    return Schema(
        features=tuple(features),
        tasks=(Binary(name="click"),),
        keys=Keys(user="user_id", item="item_id"),
        tables=tables,
    )


USERS = SideTable(name="users", on="user_id", key="id")
ITEMS = SideTable(name="items", on="item_id", prefix="item_")
LOG = pa.table({"user_id": [1, 2, 9, None, 1], "item_id": list("abzcb"), "click": [0, 1, 0, 1, 1]})
FEATURES = (
    Categorical(name="item_id"),
    Numeric(name="age", missing_values=(-1,)),
    Categorical(name="city", column="item_city"),
    Embedding(name="vec", column="item_vec", dim=2),
    Watched(name="history", shares="item_id"),
)
USER_TABLE = pa.table(
    {"age": [30, -1, 50], "id": [1, 2, 3], "unused": [1, 2, 3], "history": [["a"], [], None]}
)
ITEM_TABLE = pa.table(
    {"item_id": list("abc"), "city": ["Oslo", None, "Rome"], "vec": [[1.0, 2.0], None, [3.0, 4.0]]}
)


def loaded() -> tuple[Schema, dict[str, pa.Table]]:
    schema = schema_of(FEATURES, USERS, ITEMS)
    return schema, {
        "users": load_side_table(USER_TABLE, USERS, schema),
        "items": load_side_table(ITEM_TABLE, ITEMS, schema),
    }


def test_a_loaded_table_has_the_key_and_what_is_used_in_the_types_handed_on() -> None:
    _, tables = loaded()
    assert tables["users"].to_pydict() == {
        "id": [1, 2, 3],
        "age": [30.0, None, 50.0],
        "history": [["a"], [], None],
    }
    assert tables["items"].column_names == ["item_id", "item_city", "item_vec"]
    assert tables["items"].schema.field("item_vec").type == pa.list_(pa.float32(), 2)


def test_the_join_is_the_one_that_plain_python_makes() -> None:
    schema, tables = loaded()
    joined, absent = Join(schema, tables).attach(LOG)
    users = {row["id"]: row for row in tables["users"].to_pylist()}
    items = {row["item_id"]: row for row in tables["items"].to_pylist()}
    expected = [
        {
            **row,
            **{name: users.get(row["user_id"], {}).get(name) for name in ("age", "history")},
            **{name: items.get(row["item_id"], {}).get(name) for name in ("item_city", "item_vec")},
        }
        for row in LOG.to_pylist()
    ]
    assert joined.to_pylist() == expected
    assert absent["users"].tolist() == [False, False, True, True, False]
    assert absent["items"].tolist() == [False, False, True, False, False]


@given(
    keys=st.lists(st.integers(0, 20), unique=True),
    wanted=st.lists(st.none() | st.integers(0, 20), min_size=1),
    chunk_rows=st.integers(1, 10),
)
def test_a_reader_joins_as_plain_python_does(
    keys: list[int], wanted: list[int | None], chunk_rows: int
) -> None:
    schema = Schema(
        features=(Numeric(name="age"), Bag(name="tags")),
        tasks=(Binary(name="click"),),
        tables=(USERS,),
    )
    ages = {key: float(key) / 3 for key in keys}
    tags = {key: [str(key)] * (key % 3) for key in keys}
    side = pa.table(
        {
            "id": pa.array(keys, pa.int32()),
            "age": pa.array(ages.values(), pa.float64()),
            "tags": pa.array(tags.values(), pa.list_(pa.string())),
        }
    )
    users = load_side_table(side, USERS, schema)
    log = pa.table({"user_id": pa.array(wanted, pa.int64()), "click": [1] * len(wanted)})
    reader = Reader(open_log(log, chunk_rows=chunk_rows), schema, tables={"users": users})
    rows = [row for table in reader.chunks() for row in table.to_pylist()]
    assert [row["age"] for row in rows] == [
        ages.get(key) if key is not None else None for key in wanted
    ]
    assert [row["tags"] for row in rows] == [
        tags.get(key) if key is not None else None for key in wanted
    ]
    num_absent = sum(key not in ages for key in wanted)
    expected = {"no row in table 'users'": num_absent} if num_absent else {}
    assert reader.ledger.parts["all"].noted == expected


def test_a_side_table_may_be_a_file_of_any_format(tmp_path: Path) -> None:
    schema = schema_of([Numeric(name="age"), Bag(name="tags", separator=" ")], USERS)
    write_csv(tmp_path / "users.csv", {"id": [1, 2], "age": [30, None], "tags": ["a b", ""]})
    table = load_side_table("users.csv", USERS, schema, root=tmp_path)
    assert table.to_pydict() == {"id": [1, 2], "age": [30.0, None], "tags": [["a", "b"], None]}


@pytest.mark.parametrize(
    ("item_ids", "tokens", "expected"),
    [
        ([7, 8], "7,8", [7, 8]),
        (["7", "8"], "7,8", ["7", "8"]),
        (["x7", "x8"], "x7,x8", ["x7", "x8"]),
        (["007", "8"], "007,8", ["007", "8"]),
    ],
)
def test_a_joined_text_of_ids_is_of_the_kind_it_shares(
    item_ids: list[Any], tokens: str, expected: list[Any]
) -> None:
    features = [
        Categorical(name="item_id"),
        Watched(name="history", shares="item_id", separator=","),
    ]
    schema = schema_of(features, USERS)
    users = load_side_table(pa.table({"id": [1, 2], "history": [tokens, None]}), USERS, schema)
    log = pa.table({"user_id": [1, 2], "item_id": item_ids, "click": [0, 1]})
    (table,) = Reader(open_log(log), schema, tables={"users": users}).chunks()
    assert table.column("history").to_pylist() == [expected, None]
    shared = table.schema.field("item_id").type
    assert table.schema.field("history").type.value_type == shared


def test_a_joined_text_of_other_ids_is_refused() -> None:
    features = [
        Categorical(name="item_id"),
        Watched(name="history", shares="item_id", separator=","),
    ]
    schema = schema_of(features, USERS)
    users = load_side_table(pa.table({"id": [1], "history": ["7,x"]}), USERS, schema)
    log = open_log(pa.table({"user_id": [1], "item_id": [7], "click": [0]}))
    with pytest.raises(DataError, match="holds ids of large_string, and column 'item_id'"):
        Reader(log, schema, tables={"users": users})


def refusal(table: pa.Table, side: SideTable = USERS) -> PolyrankError:
    with pytest.raises(PolyrankError) as caught:
        load_side_table(table, side, schema_of(FEATURES, USERS, ITEMS))
    return caught.value


def test_keys_that_repeat_are_counted_and_shown() -> None:
    table = pa.table({"id": [5, 6, 5, 7, 6, 5], "age": range(6)})
    error = refusal(table)
    assert str(error).startswith(
        "table 'users', column 'id': 2 keys more than once: 5 in rows 0, 2, 5; 6 in rows 1, 4."
    )
    assert error.exit_code == 3
    text = pa.table({"item_id": ["a", "b", "a"], "city": ["x"] * 3})
    assert "1 key more than once: 'a' in rows 0, 2" in str(refusal(text, ITEMS))


def test_keys_that_repeat_are_told_with_the_files_they_stand_in(tmp_path: Path) -> None:
    for number, keys in enumerate(([1, 2], [3, 1], [4], [5], [6], [7])):
        write_csv(tmp_path / f"u{number}.csv", {"id": keys, "age": keys})
    schema = schema_of(FEATURES, USERS, ITEMS)
    with pytest.raises(DataError) as caught:
        load_side_table("u*.csv", USERS, schema, root=tmp_path)
    files = "u0.csv, u1.csv, u2.csv, u3.csv, u4.csv and 1 more"
    assert caught.value.where == f"table 'users' ({files}), column 'id'"
    assert "1 key more than once: 1 in rows 0, 3" in str(caught.value)
    write_csv(tmp_path / "u0.csv", {"id": [7, 7], "age": [1, 2]})
    with pytest.raises(DataError, match=r"^table 'users' \(u0.csv\), column 'id': 1 key"):
        load_side_table(tmp_path / "u0.csv", USERS, schema)


def test_keys_that_are_null_are_counted_and_shown() -> None:
    error = refusal(pa.table({"id": [1, None, None], "age": [1, 2, 3]}))
    assert "2 keys are null (row 1, 2)" in str(error)


def test_everything_wrong_with_a_table_is_told_at_once() -> None:
    table = pa.table({"id": [1, 1, None], "age": [1.0, np.inf, 2.0]})
    error = refusal(table)
    assert [problem.where for problem in error.problems] == [
        "table 'users', table, row 1, column 'age'",
        "table 'users', column 'id'",
        "table 'users', column 'id'",
    ]
    types = pa.table({"id": [1.5], "age": ["old"], "history": [3]})
    assert len(refusal(types).problems) == 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"key": [1], "age": [2]}), "lacks column 'id' (key of table 'users')"),
        (pa.table({"id": [1], "shoe": [2]}), "no feature reads a column of table 'users'"),
        (pa.table({"id": [b"1"], "age": [2]}), "an id is an integer or a string"),
    ],
)
def test_a_table_that_does_not_do_is_refused(table: pa.Table, message: str) -> None:
    assert message in str(refusal(table))


def test_a_prefix_that_is_forgotten_shows() -> None:
    error = refusal(pa.table({"item_id": ["a"], "item_city": ["x"]}), ITEMS)
    assert "It offers item_item_city; the features read " in str(error)
    assert all(repr(feature.column) in str(error) for feature in FEATURES)


def test_tables_and_schema_have_to_agree() -> None:
    schema, tables = loaded()
    with pytest.raises(ConfigError, match="declares no side table 'user'. Did you mean 'users'"):
        Join(schema, {**tables, "user": tables["users"]})
    with pytest.raises(ConfigError, match="declares side table 'items', which is not given"):
        Reader(open_log(LOG), schema, tables={"users": tables["users"]})


def test_a_column_in_two_places_is_refused_with_the_cure() -> None:
    schema, tables = loaded()
    clash = LOG.append_column("age", pa.array([1] * 5))
    with pytest.raises(
        DataError, match="column 'age' .* is in the log and in table 'users'"
    ) as caught:
        Reader(open_log(clash), schema, tables=tables)
    assert "Set `prefix` of table 'users'" in str(caught.value)
    unused = LOG.append_column("unused", pa.array([1] * 5))
    assert Reader(open_log(unused), schema, tables=tables).ignored == ("unused",)


def test_two_tables_with_one_column_are_refused() -> None:
    both = (SideTable(name="one", on="user_id"), SideTable(name="two", on="user_id"))
    schema = schema_of([Numeric(name="age")], *both)
    tables = {
        side.name: load_side_table(pa.table({"user_id": [1], "age": [2]}), side, schema)
        for side in both
    }
    with pytest.raises(DataError, match="is in table 'one' and in table 'two'"):
        Reader(open_log(LOG), schema, tables=tables)


def test_keys_of_different_types_are_refused() -> None:
    schema = schema_of([Numeric(name="age")], USERS)
    users = load_side_table(pa.table({"id": ["1", "2"], "age": [3, 4]}), USERS, schema)
    with pytest.raises(DataError, match="no row would be found"):
        Reader(open_log(LOG), schema, tables={"users": users})


def test_a_table_that_was_not_loaded_is_refused() -> None:
    schema = schema_of([Numeric(name="age")], USERS)
    raw = pa.table({"id": [1], "age": ["3"]})
    with pytest.raises(DataError, match="Read side tables with `load_side_table`"):
        Reader(open_log(LOG), schema, tables={"users": raw})
    with pytest.raises(DataError, match="table 'users', column 'id': is missing"):
        Reader(open_log(LOG), schema, tables={"users": raw.drop_columns("id")})


def test_a_key_that_is_null_throughout_finds_nothing() -> None:
    schema = Schema(features=(Numeric(name="age"),), tasks=(Binary(name="click"),), tables=(USERS,))
    users = load_side_table(USER_TABLE, USERS, schema)
    log = pa.table({"user_id": pa.nulls(2), "click": [0, 1]})
    (table,) = Reader(open_log(log), schema, tables={"users": users}).chunks()
    assert table.column("age").to_pylist() == [None, None]


def test_a_joined_number_may_be_required() -> None:
    schema = Schema(
        features=(Numeric(name="age", on_missing="refuse"),),
        tasks=(Binary(name="click"),),
        tables=(USERS,),
    )
    users = load_side_table(USER_TABLE.set_column(0, "age", [[30, None, 50]]), USERS, schema)
    log = pa.table({"user_id": [1, 2, 9], "click": [0, 1, 1]})
    with pytest.raises(DataError, match=r"2 rows \(1, 2\) hold null.*may not be missing"):
        list(Reader(open_log(log), schema, tables={"users": users}).chunks())


def test_further_columns_can_be_asked_for() -> None:
    schema = schema_of([Numeric(name="age")], USERS)
    users = load_side_table(USER_TABLE, USERS, schema, extra=["unused"])
    reader = Reader(open_log(LOG.slice(0, 3)), schema, tables={"users": users}, extra=["unused"])
    (table,) = reader.chunks()
    assert table.column("unused").to_pylist() == [1, 2, None]


def test_an_empty_side_table_gives_nulls() -> None:
    schema = schema_of([Numeric(name="age")], USERS)
    users = load_side_table(USER_TABLE.slice(0, 0), USERS, schema)
    joined, absent = Join(schema, {"users": users}).attach(LOG)
    assert joined.column("age").null_count == 5
    assert absent["users"].all()


def test_a_join_never_multiplies_rows() -> None:
    schema = schema_of([Numeric(name="age")], USERS)
    for keys in ([1, 1], ["a", "a"], [1, None]):
        with pytest.raises(DataError, match="table 'users', column 'id'"):
            Join(schema, {"users": pa.table({"id": keys, "age": [1.0, 2.0]})})


def test_a_join_is_kept_for_many_readers() -> None:
    schema, tables = loaded()
    join = Join(schema, tables)
    log = LOG.slice(0, 2)
    for _ in range(2):
        one = pa.concat_tables(Reader(open_log(log), schema, tables=join).chunks())
        other = pa.concat_tables(Reader(open_log(log), schema, tables=tables).chunks())
        assert one.equals(other)
    fewer = schema.model_copy(update={"tables": schema.tables[:1]})
    with pytest.raises(ConfigError, match="of other side tables than the schema declares"):
        Reader(open_log(log), fewer, tables=join)
