"""Side tables: how they join, whose features they hold, what clashes."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.errors import ConfigError, DataError
from polyrank.schema import Sequence, SideTable, guess_schema
from tests.schema.logs import ITEMS, USERS, log, parts

RNG = np.random.default_rng(9)
LOG = {"user_id": "user", "item_id": "item", "time_ms": "time", "click": "click", "real": "real"}


def users(**columns: Any) -> pa.Table:
    return pa.table({"user_id": np.arange(USERS + 9) + 1000, **columns})


def items(**columns: Any) -> pa.Table:
    return pa.table({"item_id": np.arange(ITEMS) + 5_000_000, **columns})


FANS = RNG.integers(0, 10**5, USERS + 9)
KINDS = np.array(["film", "clip"])[np.arange(ITEMS) % 2]


def test_tables_join_by_the_keys_and_give_their_side() -> None:
    tables = {"people": users(fans=FANS), "things": items(kind_of=KINDS)}
    guess = guess_schema(log(LOG), tables=tables)
    assert guess.schema.tables == (
        SideTable(name="people", on="user_id"),
        SideTable(name="things", on="item_id"),
    )
    assert guess.schema.feature("fans").side == "user"
    assert guess.schema.feature("kind_of").side == "item"
    assert guess.notes["tables.people"] == "One row for each 'user_id': 49."


def test_what_stands_in_a_table_is_known_beforehand() -> None:
    likes = RNG.integers(0, 2, USERS + 9)
    guess = guess_schema(log(LOG), tables={"people": users(is_follow=likes, watch_time=FANS)})
    assert {"is_follow", "watch_time"} <= set(guess.schema.feature_columns())
    assert guess.schema.task_names == ("click",)


def test_the_columns_of_a_table_that_are_no_features() -> None:
    table = users(
        country=["xx"] * (USERS + 9),
        joined=[f"2020-01-{d % 28 + 1:02d}" for d in range(USERS + 9)],
        email=[f"{i}@example.org" for i in range(USERS + 9)],
        truth_taste=FANS,
        fans=FANS,
    )
    guess = guess_schema(log(LOG), tables={"people": table})
    assert guess.schema.feature_columns() == ("item_id", "real", "fans")
    left_out = {"country", "joined", "email", "truth_taste", "user_id"}
    assert {f"ignored.{name}" for name in left_out} <= guess.notes.keys()


@pytest.mark.parametrize(
    ("name", "column", "on"),
    [
        ("people", "uid", "user_id"),
        ("users", "id", "user_id"),
        ("item", "id", "item_id"),
        ("things", "video_id", "item_id"),
    ],
)
def test_a_key_may_be_called_otherwise_in_the_table(name: str, column: str, on: str) -> None:
    table = users(f=FANS) if on == "user_id" else items(f=KINDS)
    table = table.rename_columns([column, "f"])
    schema = guess_schema(log(LOG), tables={name: table}).schema
    assert schema.tables == (SideTable(name=name, on=on, key=column),)


def test_a_table_of_another_key() -> None:
    table = log(LOG).append_column("author_id", pa.array(parts()["item"] % 50 * 7))
    authors = pa.table({"author_id": np.arange(50) * 7, "fame": RNG.normal(size=50)})
    schema = guess_schema(table, tables={"authors": authors}).schema
    assert schema.tables == (SideTable(name="authors", on="author_id"),)
    assert schema.feature("fame").side == schema.feature("author_id").side == "item"


def test_columns_that_clash_get_a_prefix() -> None:
    one, two = users(real=FANS, fans=FANS), users(fans=FANS)
    schema = guess_schema(log(LOG), tables={"a": one, "b": two}).schema
    assert [table.prefix for table in schema.tables] == ["a_", ""]
    assert schema.feature_columns() == ("item_id", "real", "a_real", "a_fans", "fans")
    again = guess_schema(log(LOG), tables={"a": users(fans=FANS), "b": two}).schema
    assert [table.prefix for table in again.tables] == ["", "b_"]
    taken = log(LOG).append_column("a_real", log(LOG).column("real"))
    assert guess_schema(taken, tables={"a": one}).schema.tables[0].prefix == "a_a_"


def test_a_past_may_hold_items_that_only_the_table_knows() -> None:
    table = log(LOG)
    unseen = pa.table({"item_id": np.arange(9_000_000, 9_000_500), "kind": ["x"] * 500})
    past = [(RNG.integers(9_000_000, 9_000_500, 5)).tolist() for _ in range(USERS + 9)]
    with_items = {"people": users(watch_seq=past), "things": unseen}
    alone = guess_schema(table, tables={"people": users(watch_seq=past)}).schema
    assert alone.feature("watch_seq").kind == "bag"
    feature = guess_schema(table, tables=with_items).schema.feature("watch_seq")
    assert isinstance(feature, Sequence)
    assert (feature.shares, feature.side) == ("item_id", "user")


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (pa.table({"a": [1], "b": [2]}), "no column joins it to the log. It needs"),
        (pa.table({"user_id": [1001, 1001], "b": [2, 3]}), "its 'user_id' repeats"),
        (pa.table({"user_id": pa.array([1001, None]), "b": [2, 3]}), "is null"),
        (pa.table({"user_id": ["1001", "1002"], "b": [2, 3]}), "no column joins"),
        (pa.table({"user_id": [[1], [2]], "b": [2, 3]}), "is no id"),
    ],
)
def test_tables_that_do_not_join(table: pa.Table, why: str) -> None:
    with pytest.raises(ConfigError, match="table 'people'") as caught:
        guess_schema(log(LOG), tables={"people": table})
    assert why in str(caught.value)


def test_tables_that_are_no_tables() -> None:
    with pytest.raises(DataError, match="table 'people': has no rows"):
        guess_schema(log(LOG), tables={"people": users(f=FANS).slice(0, 0)})
    table = users(f=FANS)
    twice = table.append_column("f", table.column("f"))
    with pytest.raises(DataError, match="table 'people': names columns twice"):
        guess_schema(log(LOG), tables={"people": twice})


def test_a_table_needs_a_name_that_can_be_addressed() -> None:
    with pytest.raises(ConfigError, match="white space"):
        guess_schema(log(LOG), tables={"my people": users(f=FANS)})
