from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.data.order import check_disjoint, check_order, time_range
from polyrank.data.source import Source, open_log
from polyrank.errors import DataError
from polyrank.schema import Binary, Categorical, Deduplicate, Keys, Schema

SCHEMA = Schema(
    features=(Categorical(name="item"),), tasks=(Binary(name="click"),), keys=Keys(time="t")
)
TIMES = st.lists(st.none() | st.integers(-50, 50), max_size=20)


def log(times: list[Any], dtype: Any = None, **options: Any) -> Source:
    array = pa.array(times, dtype or pa.int64())
    return open_log(pa.table({"t": array, "item": [1] * len(array)}), **options)


@given(TIMES, TIMES, TIMES, st.integers(1, 9))
def test_logs_overlap_if_a_later_one_begins_before_an_earlier_one_ends(
    one: list[int | None], two: list[int | None], three: list[int | None], chunk_rows: int
) -> None:
    named = {"train": one, "validation": two, "test": three}
    known = {name: [t for t in times if t is not None] for name, times in named.items()}
    pairs = [("train", "validation"), ("train", "test"), ("validation", "test")]
    overlaps = any(max(known[a]) > min(known[b]) for a, b in pairs if known[a] and known[b])
    logs = {name: log(times, chunk_rows=chunk_rows) for name, times in named.items()}
    if overlaps:
        with pytest.raises(DataError, match="log runs until"):
            check_order(logs, SCHEMA)
    else:
        ranges = check_order(logs, SCHEMA)
        assert ranges == {
            name: (min(times, default=None), max(times, default=None))
            for name, times in known.items()
        }


def test_the_refusal_names_both_times() -> None:
    day = datetime.date(2022, 4, 29)
    logs = {
        "train": log([day, day + datetime.timedelta(1)], pa.date32()),
        "validation": log([day], pa.date32()),
    }
    with pytest.raises(DataError) as caught:
        check_order(logs, SCHEMA)
    assert str(caught.value).startswith(
        "column 't': the train log runs until 2022-04-30, and the validation log begins at "
        "2022-04-29."
    )
    assert caught.value.exit_code == 3


def test_times_that_python_does_not_have_are_compared_all_the_same() -> None:
    logs = {
        "train": log([2**62 + 1], pa.timestamp("ns")),
        "validation": log([2**62], pa.timestamp("ns")),
    }
    with pytest.raises(DataError, match="the train log runs until"):
        check_order(logs, SCHEMA)
    far = {"train": log([2**60], pa.timestamp("s")), "validation": log([2**61], pa.timestamp("s"))}
    assert check_order(far, SCHEMA) == {"train": (2**60,) * 2, "validation": (2**61,) * 2}


def test_times_of_different_types_are_refused() -> None:
    logs = {"train": log([1]), "validation": log([1], pa.timestamp("s"))}
    with pytest.raises(DataError, match=r"is .* and .* in train and validation"):
        check_order(logs, SCHEMA)


def test_a_log_without_its_times_is_refused() -> None:
    with pytest.raises(DataError, match="lacks column 't'"):
        time_range(open_log(pa.table({"x": [1]})), "t")


def test_without_a_time_there_is_no_order() -> None:
    timeless = SCHEMA.model_copy(update={"keys": Keys()})
    assert check_order({"train": log([2]), "validation": log([1])}, timeless) == {}


ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=15)


@given(ROWS, ROWS, st.booleans())
def test_shared_rows_are_found(
    one: list[tuple[int, int]], two: list[tuple[int, int]], by_item: bool
) -> None:
    columns = ("item",) if by_item else ()
    schema = SCHEMA.model_copy(update={"deduplicate": Deduplicate(columns=columns)})
    logs = {
        name: open_log(
            pa.table(
                {
                    "item": pa.array([item for item, _ in rows], pa.int64()),
                    "t": pa.array([t for _, t in rows], pa.int64()),
                    "click": pa.array([0] * len(rows), pa.int8()),
                    "unread": pa.array([name] * len(rows), pa.string()),
                }
            ),
            chunk_rows=4,
        )
        for name, rows in (("train", one), ("validation", two))
    }
    shared = sum((row[0] in {r[0] for r in one}) if by_item else row in one for row in two)
    if shared:
        with pytest.raises(DataError, match=f"^table: {shared} rows of the validation log"):
            check_disjoint(logs, schema)
    else:
        check_disjoint(logs, schema)


def test_repetitions_within_a_log_are_not_the_matter() -> None:
    schema = SCHEMA.model_copy(update={"deduplicate": Deduplicate(columns=("item",))})
    logs = {"train": log([1, 2, 3]), "validation": open_log(pa.table({"item": [2, 2]}))}
    check_disjoint(logs, schema)
    check_disjoint({"train": log([1]), "validation": log([1])}, SCHEMA)


def test_a_column_to_compare_has_to_be_there() -> None:
    schema = SCHEMA.model_copy(update={"deduplicate": Deduplicate(columns=("request",))})
    with pytest.raises(DataError, match="lacks column 'request'"):
        check_disjoint({"train": log([1])}, schema)
