from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from polyrank.data.reader import Reader
from polyrank.data.source import open_log
from polyrank.data.split import PARTS, AnySplit, RandomSplit, TimeSplit, UserSplit
from polyrank.errors import ConfigError, DataError
from polyrank.schema import Binary, Categorical, Keys, Schema

ADAPTER: TypeAdapter[Any] = TypeAdapter(AnySplit)
SCHEMA = Schema(
    features=(Categorical(name="item"),),
    tasks=(Binary(name="click"),),
    keys=Keys(user="user", time="time"),
)
UNTIMED = SCHEMA.model_copy(update={"keys": Keys(user="user")})

SHARES = st.floats(0, 0.45)
SPLITS = st.one_of(
    st.builds(UserSplit, validation=SHARES, test=SHARES, salt=st.text(max_size=3)),
    st.builds(RandomSplit, validation=SHARES, test=SHARES, accept_leakage=st.just(True)),
    st.builds(
        TimeSplit,
        validation_from=st.integers(0, 50),
        test_from=st.none() | st.integers(51, 100),
        gap=st.integers(0, 20),
    ),
)
ROWS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 100)), min_size=1, max_size=80)


def log_of(rows: list[tuple[int, int]]) -> pa.Table:
    return pa.table(
        {
            "item": range(len(rows)),
            "user": pa.array([user for user, _ in rows], pa.int64()),
            "time": pa.array([time for _, time in rows], pa.int64()),
            "click": [1] * len(rows),
        }
    )


def parts_of(table: pa.Table, split: Any, chunk_rows: int = 1000) -> dict[str, list[int]]:
    """The rows (by item) of each part, and those dropped in a gap."""
    reader = Reader(open_log(table, chunk_rows=chunk_rows), SCHEMA, split=split)
    parts: dict[str, list[int]] = {}
    for part in PARTS:
        tables, messages = [], []
        try:
            tables = list(reader.chunks(part))  # type: ignore[arg-type]
        except DataError as error:
            messages.append(str(error))
        assert all(f"is in part {part!r}" in message for message in messages)
        parts[part] = [item for table in tables for item in table.column("item").to_pylist()]
    counts = reader.ledger.parts.values()
    parts["gap"] = [sum(count.filtered.get("gap", 0) for count in counts)]
    reader.ledger.check()
    return parts


@given(ROWS, SPLITS, st.integers(1, 40))
def test_every_row_is_in_one_part_whatever_the_chunks(
    rows: list[tuple[int, int]], split: Any, chunk_rows: int
) -> None:
    table = log_of(rows)
    parts = parts_of(table, split)
    kept = sorted(parts["train"] + parts["validation"] + parts["test"])
    assert len(set(kept)) == len(kept)
    assert len(kept) + parts["gap"][0] == len(rows)
    assert parts_of(table, split, chunk_rows) == parts


@given(ROWS, SHARES, SHARES, st.text(max_size=3))
def test_a_user_is_never_in_two_parts(
    rows: list[tuple[int, int]], validation: float, test: float, salt: str
) -> None:
    parts = parts_of(log_of(rows), UserSplit(validation=validation, test=test, salt=salt))
    users = [{rows[item][0] for item in parts[part]} for part in PARTS]
    assert sum(map(len, users)) == len(set.union(*users))


@given(ROWS, st.integers(0, 50), st.none() | st.integers(51, 100), st.integers(0, 20))
def test_parts_follow_each_other_in_time(
    rows: list[tuple[int, int]], first: int, second: int | None, gap: int
) -> None:
    parts = parts_of(log_of(rows), TimeSplit(validation_from=first, test_from=second, gap=gap))
    expected: dict[str, list[int]] = {part: [] for part in (*PARTS, "dropped")}
    for item, (_, time) in enumerate(rows):
        part = "train" if time < first - gap else "dropped" if time < first else "validation"
        if second is not None and time >= max(first, second - gap):
            part = "dropped" if time < second else "test"
        expected[part].append(item)
    assert [parts[part] for part in PARTS] == [expected[part] for part in PARTS]
    assert parts["gap"] == [len(expected["dropped"])]


def test_the_gap_belongs_to_the_part_before_it() -> None:
    table = log_of([(0, time) for time in range(100)])
    split = TimeSplit(validation_from=40, test_from=70, gap=10)
    reader = Reader(open_log(table), SCHEMA, split=split)
    for part in ("train", "validation", "test"):
        list(reader.chunks(part))
    counts = {part: (c.read, c.used, c.filtered) for part, c in reader.ledger.parts.items()}
    assert counts == {
        "train": (40, 30, {"gap": 10}),
        "validation": (30, 20, {"gap": 10}),
        "test": (30, 30, {}),
    }


@pytest.mark.parametrize("dtype", ["user", "row"])
def test_the_shares_are_what_was_asked_for(dtype: str) -> None:
    table = log_of([(row, 0) for row in range(20_000)])
    shares: dict[str, Any] = {"validation": 0.2, "test": 0.1, "salt": "x"}
    split: Any = UserSplit(**shares) if dtype == "user" else RandomSplit(**shares)
    codes = split.assign(table, 0, column="user" if dtype == "user" else None)
    assert np.bincount(codes) / 20_000 == pytest.approx([0.7, 0.2, 0.1], abs=0.01)


def test_a_row_stays_in_its_part_when_the_log_grows() -> None:
    split = RandomSplit(validation=0.3, test=0.2)
    table = log_of([(0, 0)] * 100)
    whole = split.assign(table, 0)
    assert split.assign(table.slice(40), 40).tolist() == whole[40:].tolist()
    assert (
        RandomSplit(validation=0.3, test=0.2, salt="b").assign(table, 0).tolist() != whole.tolist()
    )


def test_users_of_text_and_of_numbers_are_split_alike() -> None:
    split = UserSplit(validation=0.5)
    for users in (["a", "b", "c"] * 50, list(range(150))):
        table = pa.table({"user": users})
        assert (
            split.assign(table, 0, column="user").tolist()
            == split.assign(
                pa.table({"user": pa.array(users).dictionary_encode()}), 9, column="user"
            ).tolist()
        )


DAY = date(2022, 4, 29)
NOON = datetime(2022, 4, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("times", "bound", "gap", "codes"),
    [
        (pa.array([20220428, 20220429, None]), 20220429, 0, [0, 1, 0]),
        (pa.array([-7, -5, 3, None]), -5, 0, [0, 1, 1, 0]),
        (pa.array([DAY - timedelta(1), DAY, None]), "2022-04-29", 0, [0, 1, 0]),
        (pa.array([DAY - timedelta(2), DAY - timedelta(1), DAY]), DAY, 1, [0, -1, 1]),
        (pa.array([DAY, DAY + timedelta(1)]), "2022-04-29T06:00:00", 0, [0, 1]),
        (pa.array([NOON - timedelta(seconds=1), NOON], pa.timestamp("s", "UTC")), NOON, 0, [0, 1]),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ms")), "2022-04-29T12:00:00", 0, [1]),
        (
            pa.array([NOON - timedelta(seconds=k) for k in (60, 59, 0)], pa.timestamp("us", "UTC")),
            "2022-04-29T14:00:00+02:00",
            59,
            [0, -1, 1],
        ),
        (
            pa.array([NOON - timedelta(microseconds=1), NOON], pa.timestamp("ns", "UTC")),
            NOON,
            0,
            [0, 1],
        ),
    ],
)
def test_bounds_in_the_kind_of_the_column(
    times: Any, bound: Any, gap: float, codes: list[int]
) -> None:
    split = TimeSplit(column="t", validation_from=bound, gap=gap)
    assert split.assign(pa.table({"t": times}), 0).tolist() == codes


@pytest.mark.parametrize(
    ("dtype", "bound"), [(pa.int64(), "2022-04-29"), (pa.timestamp("s"), 5), (pa.date32(), 5)]
)
def test_bounds_of_another_kind_are_refused_before_a_row_is_read(dtype: Any, bound: Any) -> None:
    table = pa.table({"item": [1], "user": [1], "time": pa.array([1], dtype), "click": [1]})
    with pytest.raises(ConfigError, match="is of another kind") as caught:
        Reader(open_log(table), SCHEMA, split=TimeSplit(validation_from=bound))
    assert caught.value.where == "data.split"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"kind": "time", "validation_from": 5, "test_from": 5},
            "must lie after `validation_from`",
        ),
        (
            {"kind": "time", "validation_from": "2022-04-29", "test_from": "2022-04-28"},
            "must lie after",
        ),
        ({"kind": "time", "validation_from": "2022-04-29", "test_from": 5}, "must be of one kind"),
        ({"kind": "time", "validation_from": "soon"}, "a whole number or a date like 2022-04-29"),
        ({"kind": "time"}, "Field required"),
        ({"kind": "time", "validation_from": 5, "gap": -1}, "greater than or equal to 0"),
        ({"kind": "user", "validation": 0.6, "test": 0.4}, "must leave rows for training"),
        ({"kind": "user", "validation": -0.1}, "greater than or equal to 0"),
        ({"kind": "random", "validation": 1.0}, "less than 1"),
        ({"kind": "random", "shuffle": True}, "Extra inputs are not permitted"),
        ({"kind": "hash"}, "does not match any of the expected tags"),
    ],
)
def test_a_wrong_split_is_refused_when_it_is_declared(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(tree)


@given(SPLITS)
def test_a_split_comes_back_from_its_tree(split: Any) -> None:
    assert ADAPTER.validate_python(split.model_dump(mode="json")) == split


def test_dates_from_yaml_are_dates() -> None:
    split = TimeSplit(validation_from=DAY, test_from=datetime(2022, 4, 30))  # type: ignore[arg-type]
    assert (split.validation_from, split.test_from) == ("2022-04-29", "2022-04-30T00:00:00")


def test_a_random_split_of_a_log_with_times_needs_a_word() -> None:
    with pytest.raises(ConfigError, match="lets training see what comes after") as caught:
        Reader(open_log(log_of([(0, 0)])), SCHEMA, split=RandomSplit())
    assert "accept_leakage: true" in str(caught.value)
    Reader(open_log(log_of([(0, 0)])), SCHEMA, split=RandomSplit(accept_leakage=True))
    Reader(open_log(log_of([(0, 0)])), UNTIMED, split=RandomSplit())


def test_splits_need_their_keys() -> None:
    with pytest.raises(ConfigError, match="no key `time`"):
        Reader(open_log(log_of([(0, 0)])), UNTIMED, split=TimeSplit(validation_from=5))
    bare = SCHEMA.model_copy(update={"keys": Keys()})
    with pytest.raises(ConfigError, match="needs the key `user`"):
        Reader(open_log(log_of([(0, 0)])), bare, split=UserSplit())


def test_a_split_fills_what_it_has_shares_for() -> None:
    assert UserSplit().parts() == ("train", "validation")
    assert RandomSplit(validation=0, test=0.2).parts() == ("train", "test")
    assert TimeSplit(validation_from=5).parts() == ("train", "validation")
    assert TimeSplit(validation_from=5, test_from=6).parts() == PARTS
