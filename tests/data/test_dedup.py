from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.data.dedup import Repetitions
from polyrank.data.hashing import hash_column
from polyrank.data.reader import Reader
from polyrank.data.source import open_log
from polyrank.data.split import TimeSplit
from polyrank.errors import DataError
from polyrank.schema import Binary, Categorical, Deduplicate, Keys, Schema

VALUES = st.lists(st.integers(0, 15), max_size=120)
CUTS = st.lists(st.integers(1, 30), min_size=1)


def found(values: list[int], cuts: list[int], window: int) -> list[bool]:
    """What ``Repetitions`` finds, chunk by chunk."""
    repetitions = Repetitions(window)
    hashes = hash_column(pa.array(values, pa.int64()))
    marks: list[bool] = []
    turn = 0
    while len(marks) < len(values):
        size = cuts[turn % len(cuts)]
        marks += repetitions.find(hashes[len(marks) : len(marks) + size]).tolist()
        turn += 1
    return marks


@given(VALUES, CUTS)
def test_without_a_window_all_but_the_first_are_found(values: list[int], cuts: list[int]) -> None:
    assert found(values, cuts, 0) == [value in values[:row] for row, value in enumerate(values)]


@given(VALUES, CUTS, st.integers(1, 40))
def test_with_a_window_only_what_lies_within(
    values: list[int], cuts: list[int], window: int
) -> None:
    expected = [value in values[max(0, row - window) : row] for row, value in enumerate(values)]
    assert found(values, cuts, window) == expected


def test_a_window_bounds_the_memory() -> None:
    repetitions = Repetitions(100)
    for start in range(0, 10_000, 1000):
        repetitions.find(np.arange(start, start + 1000, dtype=np.uint64))
    assert len(repetitions._recent) == 100


def test_the_runs_stay_few() -> None:
    repetitions = Repetitions()
    for start in range(0, 100_000, 100):
        assert not repetitions.find(np.arange(start, start + 100, dtype=np.uint64)).any()
    assert len(repetitions._runs) <= 11
    assert repetitions.known(np.arange(100_000, dtype=np.uint64)).all()


SCHEMA = Schema(
    features=(Categorical(name="item"),),
    tasks=(Binary(name="click"),),
    keys=Keys(time="day"),
    deduplicate=Deduplicate(columns=("item",)),
)


def test_a_row_that_repeats_one_of_an_earlier_part_is_dropped_from_the_later() -> None:
    log = pa.table({"item": [1, 2, 1, 3, 2], "day": [1, 1, 2, 2, 3], "click": [0, 1, 1, 0, 1]})
    split = TimeSplit(validation_from=2, test_from=3)
    reader = Reader(open_log(log), SCHEMA, split=split)
    items = {
        part: [item for table in reader.chunks(part) for item in table.column("item").to_pylist()]
        for part in ("train", "validation", "test")
    }
    assert items == {"train": [1, 2], "validation": [3], "test": []}
    assert reader.ledger.filtered == {"duplicate": 2}
    assert reader.ledger.read == 5


def test_refused_repetitions_name_their_rows() -> None:
    rules = Deduplicate(columns=("item",), keep="error")
    log = pa.table({"item": [1, 2, 1, 3, 2], "day": [1] * 5, "click": [1] * 5})
    reader = Reader(open_log(log), SCHEMA.model_copy(update={"deduplicate": rules}))
    with pytest.raises(DataError, match=r"2 rows \(2, 4\) hold 1, 2: the row repeats") as caught:
        list(reader.chunks())
    assert caught.value.where == "table, rows 2-4, column 'item'"


def test_rows_to_be_scored_are_never_dropped() -> None:
    log = pa.table({"item": [1, 1, 1]})
    reader = Reader(open_log(log), SCHEMA, labels=False)
    assert sum(table.num_rows for table in reader.chunks()) == 3
    assert reader.ledger.masked == 3
