from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest

from polyrank.data.times import PlausibleTimes

SECONDS = 1_650_000_000


def bad_rows(*chunks: Any) -> list[list[int]]:
    times = PlausibleTimes("t")
    found = []
    for array in chunks:
        table = pa.table({"t": array})
        faults = times.faults(table, table)
        found.append([row for fault in faults for row in fault.rows_K.tolist()])
    return found


@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
def test_an_epoch_in_any_unit_is_known_by_its_first_rows(scale: int) -> None:
    first = pa.array([SECONDS * scale] * 20)
    later = pa.array([SECONDS, SECONDS * 10**3, SECONDS * 10**6, SECONDS * 10**9, 0, None])
    place = [1, 10**3, 10**6, 10**9].index(scale)
    assert bad_rows(first, later) == [[], [row for row in range(5) if row != place]]


@pytest.mark.parametrize(
    "values",
    [[20220425, 20220426, 1], list(range(20)), [-5, 7, 10**12], [0] * 5],
    ids=["days", "counter", "anything", "zero"],
)
def test_what_is_no_epoch_is_left_alone(values: list[int]) -> None:
    assert bad_rows(pa.array(values)) == [[]]


def test_nearly_all_is_enough_for_the_first_rows() -> None:
    assert bad_rows(pa.array([SECONDS] * 9 + [0])) == [[9]]
    assert bad_rows(pa.array([SECONDS] * 8 + [0, 0])) == [[]]


def test_rows_of_nulls_decide_nothing() -> None:
    assert bad_rows(pa.nulls(3, pa.int64()), pa.array([SECONDS] * 10), pa.array([5])) == [
        [],
        [],
        [0],
    ]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_and_dates_have_their_unit(unit: str) -> None:
    times = [datetime(2022, 1, 1)] * 20 + [datetime(1989, 12, 31), datetime(1990, 1, 1)]
    assert bad_rows(pa.array(times, pa.timestamp(unit))) == [[20]]
    days = [date(2022, 1, 1)] * 20 + [date(1970, 1, 1), date(2099, 12, 31), date(2100, 1, 1)]
    assert bad_rows(pa.array(days)) == [[20, 22]]
    early = pa.array([datetime(1970, 1, 1, k) for k in range(10)], pa.timestamp(unit))
    assert bad_rows(early) == [[]]
