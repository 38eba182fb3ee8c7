"""Labels that speak outside their sample space: masked, dropped or refused, and always counted."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data import Quarantine, RandomSplit, Reader, observed_mask, open_log
from polyrank.data.outside import contradictory
from polyrank.data.validate import validate_log
from polyrank.errors import ConfigError, DataError
from polyrank.schema import (
    Binary,
    Duration,
    Keys,
    Maturity,
    Multiclass,
    Numeric,
    Ordinal,
    Schema,
    Task,
)

AGE = (Numeric(name="age"),)
ROWS: dict[str, list[Any]] = {
    "age": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "click": [1, 1, 0, 0, None, 0],
    "buy": [1, 0, 1, 0, 1, None],
}


def funnel(outside: Any = "mask") -> Schema:
    tasks = (Binary(name="click"), Binary(name="buy", within="click", outside=outside))
    return Schema(features=AGE, tasks=tasks)


def reader(schema: Schema, columns: dict[str, Any] | None = None, **options: Any) -> Reader:
    return Reader(open_log(pa.table(columns or ROWS)), schema, **options)


def ages(table: pa.Table) -> list[float]:
    found: list[float] = table["age"].to_pylist()
    return found


def test_unless_told_the_label_alone_is_masked() -> None:
    log = reader(funnel())
    (table,) = log.chunks()
    assert ages(table) == ROWS["age"]
    assert observed_mask(table, funnel())["buy"].tolist() == [True, True, *[False] * 4]
    assert log.ledger.total.noted == {"label 'buy' is 1 outside its sample space: masked": 2}


def test_such_a_row_may_be_dropped_and_is_counted() -> None:
    log = reader(funnel("drop"))
    (table,) = log.chunks()
    assert ages(table) == [1, 2, 4, 5, 6]
    assert log.ledger.filtered == {"label 'buy' is not 0 where 'click' is 0": 1}
    # Whether there was a click in row 4 is not known: its label is masked as before.
    assert log.ledger.total.noted == {"label 'buy' is 1 outside its sample space: masked": 1}
    assert (log.ledger.read, log.ledger.quarantined) == (6, 0)


def test_such_a_row_may_be_refused_in_a_sentence() -> None:
    with pytest.raises(DataError) as refused:
        list(reader(funnel("refuse")).chunks())
    (problem,) = refused.value.problems
    assert str(problem).removeprefix("table: ") == (
        "table, row 2, column 'buy': holds 1: task 'buy': the label is 0 or null where 'click' is "
        "0 (outside: refuse). Mend it, or set `outside` to mask or drop."
    )


def test_refused_rows_may_be_set_aside_as_any_others() -> None:
    log = reader(funnel("refuse"), quarantine=Quarantine(max_share=0.5))
    (table,) = log.chunks()
    assert ages(table) == [1, 2, 4, 5, 6]
    assert (log.ledger.quarantined, log.ledger.filtered) == (1, {})


@pytest.mark.parametrize("outside", ["drop", "refuse"])
def test_every_part_is_read_alike(outside: str) -> None:
    columns = {name: values * 50 for name, values in ROWS.items()}
    split = RandomSplit(validation=0.3, test=0.3)
    log = reader(funnel(outside), columns, split=split, quarantine=Quarantine(max_share=1.0))
    parts = [ages(pa.concat_tables(log.chunks(part))) for part in split.parts()]  # type: ignore[arg-type]
    assert sum(map(len, parts)) == 250
    assert all(3.0 not in part for part in parts)
    gone = log.ledger.total
    assert gone.quarantined + sum(gone.filtered.values()) == 50


@pytest.mark.parametrize("outside", ["drop", "refuse"])
def test_rows_to_be_scored_have_no_labels_to_contradict(outside: str) -> None:
    (table,) = reader(funnel(outside), {"age": [1.0, 2.0]}, labels=False).chunks()
    assert table.num_rows == 2


def test_a_label_at_fault_already_is_told_once() -> None:
    columns = ROWS | {"buy": [1, 0, 7, 0, 1, None]}
    with pytest.raises(DataError) as refused:
        list(reader(funnel("refuse"), columns).chunks())
    (problem,) = refused.value.problems
    assert "a binary label is 0 or 1" in str(problem)


def test_a_parent_further_out_counts_too() -> None:
    schema = Schema(
        features=AGE,
        tasks=(
            Binary(name="click"),
            Binary(name="cart", within="click"),
            Binary(name="buy", within="cart", outside="drop"),
        ),
    )
    columns = {"age": [1.0, 2.0], "click": [0, 1], "cart": [1, 1], "buy": [1, 1]}
    log = reader(schema, columns)
    (table,) = log.chunks()
    assert ages(table) == [2]
    assert log.ledger.filtered == {"label 'buy' is not 0 where 'cart' or 'click' is 0": 1}


@pytest.mark.parametrize(
    ("task", "quiet", "speaks"),
    [
        (Duration(name="y", within="click", outside="drop"), 0.0, 0.5),
        (Ordinal(name="y", levels=(0, 1), within="click", outside="drop"), 0.0, 1.0),
        (
            Multiclass(name="y", classes={"none": 0, "bad": -1}, within="click", outside="drop"),
            "none",
            "bad",
        ),
    ],
)
def test_any_kind_of_label_may_contradict(task: Task, quiet: Any, speaks: Any) -> None:
    columns = {"age": [1.0, 2.0, 3.0], "click": [0, 0, 1], "y": [quiet, speaks, speaks]}
    schema = Schema(features=AGE, tasks=(Binary(name="click"), task))
    (table,) = reader(schema, columns).chunks()
    assert ages(table) == [1, 3]
    masking = task.model_copy(update={"outside": "mask"})
    log = reader(Schema(features=AGE, tasks=(Binary(name="click"), masking)), columns)
    (table,) = log.chunks()
    assert table.num_rows == 3
    assert log.ledger.total.noted == {"label 'y' is not 0 outside its sample space: masked": 1}


BITS = st.sampled_from([0, 1, None])
LOGS = st.lists(st.tuples(BITS, BITS, BITS, BITS, BITS), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(LOGS)
def test_rows_contradict_where_a_loop_says_so(rows: list[tuple[int | None, ...]]) -> None:
    names = ("click", "seen", "cart", "buy", "known")
    columns = [pa.array(column, pa.int8()) for column in zip(*rows, strict=True)]
    schema = Schema(
        features=AGE,
        tasks=(
            Binary(name="click", mask="seen"),
            Binary(name="cart", within="click"),
            Binary(name="buy", within="cart", mask="known", outside="drop"),
        ),
    )
    log = dict(zip(names, columns, strict=True)) | {"age": [0.0] * len(rows)}
    plain = reader(funnel_of(schema, "mask"), log)
    (table,) = plain.chunks()
    expected = [
        buy == 1 and known == 1 and (cart == 0 or (click == 0 and seen == 1))
        for click, seen, cart, buy, known in rows
    ]
    assert contradictory(table, schema, schema.task("buy")).tolist() == expected
    dropping = reader(schema, log)
    assert sum(part.num_rows for part in dropping.chunks()) == expected.count(False)
    dropping.ledger.check()
    assert sum(dropping.ledger.filtered.values()) == expected.count(True)


def funnel_of(schema: Schema, outside: str) -> Schema:
    tasks = tuple(
        task.model_copy(update={"outside": outside}) if task.within else task
        for task in schema.tasks
    )
    return schema.model_copy(update={"tasks": tasks})


def test_validate_tells_what_is_refused_and_what_dropping_leaves() -> None:
    log = open_log(pa.table(ROWS))
    (problem,) = [each for each in validate_log(log, funnel("refuse")) if each.exit_code]
    assert "the label is 0 or null where 'click' is 0 (outside: refuse)" in str(problem)
    assert not [each for each in validate_log(log, funnel("drop")) if each.exit_code]
    lone = {"age": [1.0, 2.0], "click": [0, 1], "buy": [1, None], "like": [1, None]}
    like = Schema(features=AGE, tasks=(*funnel("drop").tasks, Binary(name="like")))
    told = [str(each) for each in validate_log(open_log(pa.table(lone)), like) if each.exit_code]
    assert any(text.startswith("task 'like': no label was observed") for text in told)


def test_without_a_sample_space_there_is_no_outside() -> None:
    with pytest.raises(ConfigError) as refused:
        Binary(name="buy", outside="drop")
    assert str(refused.value) == (
        "Binary: `outside: drop` needs `within`: without a sample space nothing lies outside; name "
        "it, or leave `outside` out"
    )


def late(outside: Any, within: Maturity | None, own: Maturity | None) -> Schema:
    tasks = (
        Binary(name="click", maturity=within),
        Binary(name="buy", within="click", outside=outside, maturity=own),
    )
    return Schema(features=AGE, tasks=tasks, keys=Keys(time="t"))


def test_what_may_yet_change_contradicts_nothing() -> None:
    """A 0 that is young may become 1, and an event after its window was none."""
    window = Maturity(window=100, event_time="came", observed_until=300)
    table = pa.table(
        {
            "t": [250, 0, 0, 0],
            "click": [0.0, 1.0, 0.0, 1.0],
            "came": pa.array([None, 150, None, 50], pa.int64()),
            "buy": [1.0, 1.0, 1.0, 1.0],
        }
    )
    schema = late("drop", window, None)
    found = contradictory(table, schema, schema.task("buy"))
    assert found.tolist() == [False, True, True, False]
    schema = late("drop", None, window)
    table = table.set_column(1, "click", pa.array([0.0] * 4))
    found = contradictory(table, schema, schema.task("buy"))
    assert found.tolist() == [True, False, True, True]
