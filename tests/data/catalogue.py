"""Bad input, case by case, and what has to come of it.

A case changes the clean log of ``impressions`` and says the exit code, a piece of the message and
the exact ledger. A case of bad rows is run twice: with nothing allowed in quarantine (refused, exit
code 3) and with enough allowed (the bad rows set aside, the rest read).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from polyrank.schema import Binary, Deduplicate, Numeric, Regression
from tests.data.impressions import DAY_MS, FEATURES, NUM_ROWS, START_MS, TASKS, TYPES

Columns = dict[str, list[Any]]
Change = Callable[[Columns, dict[str, Any]], None]
BOTH = ("parquet", "csv")


@dataclass(frozen=True)
class Case:
    """One fault, or one oddity that is none."""

    name: str
    """Its row of the catalogue first: "B12 click is 2"."""
    change: Change
    bad_rows: int = 0
    """Rows that go to quarantine."""
    refused: str = ""
    """A piece of the message, if the log is refused or rows are."""
    exit_code: int = 0
    """Of a log that is refused whatever is allowed in quarantine."""
    masked: int = 0
    duplicates: int = 0
    rows: int = NUM_ROWS
    schema: dict[str, Any] = field(default_factory=dict)
    formats: tuple[str, ...] = BOTH


def value(column: str, new: Any, row: int = 7, dtype: Any = None) -> Change:
    """One value replaced; with ``dtype``, the column's type, too."""

    def change(columns: Columns, types: dict[str, Any]) -> None:
        columns[column][row] = new
        if dtype is not None:
            types[column] = dtype

    return change


def every(column: str, new: Callable[[Any], Any], dtype: Any = None) -> Change:
    """Every value replaced."""

    def change(columns: Columns, types: dict[str, Any]) -> None:
        columns[column] = [None if old is None else new(old) for old in columns[column]]
        if dtype is not None:
            types[column] = dtype

    return change


def both(*changes: Change) -> Change:
    """Several changes."""

    def change(columns: Columns, types: dict[str, Any]) -> None:
        for one in changes:
            one(columns, types)

    return change


def nothing(columns: Columns, types: dict[str, Any]) -> None:
    """No change."""


def drop(*names: str) -> Change:
    """Columns left out."""

    def change(columns: Columns, types: dict[str, Any]) -> None:
        for name in names:
            del columns[name]

    return change


def rename(old: str, new: str) -> Change:
    """A column under another name, in its place."""

    def change(columns: Columns, types: dict[str, Any]) -> None:
        items = [(new if name == old else name, values) for name, values in columns.items()]
        columns.clear()
        columns.update(items)
        types[new] = types[old]

    return change


def day_of(time_ms: int) -> str:
    """A time of the clean log as a date."""
    return f"2022-04-{1 + (time_ms - START_MS) // DAY_MS:02}"


def first_rows(num_rows: int) -> Change:
    """Only the first rows."""

    def change(columns: Columns, types: dict[str, Any]) -> None:
        for name in columns:
            columns[name] = columns[name][:num_rows]

    return change


def repeat(*rows: int) -> Change:
    """Rows appended once more."""

    def change(columns: Columns, types: dict[str, Any]) -> None:
        for name, values in columns.items():
            columns[name] = [*values, *(values[row] for row in rows)]

    return change


def backwards(columns: Columns, types: dict[str, Any]) -> None:
    """The rows in opposite order."""
    for name in columns:
        columns[name] = columns[name][::-1]


def permuted(columns: Columns, types: dict[str, Any]) -> None:
    """The columns in opposite order."""
    items = list(columns.items())[::-1]
    columns.clear()
    columns.update(items)


def added(columns: Columns, types: dict[str, Any]) -> None:
    """A column that nothing reads."""
    columns["brand_new"] = list(range(len(columns["click"])))


def bad_labels() -> Iterator[Case]:
    """B11 and B12: labels that are none."""
    for new in (2, -1, 0.5, math.inf, -math.inf, 1e38, -1e-300):
        change = value("click", new, dtype=pa.float64())
        yield Case(f"B12 click is {new}", change, 1, "a binary label is 0 or 1")
    for new in (2.0, -1.0):
        yield Case(f"B12 like is {new}", value("like", new, 6), 1, "task 'like': a binary label")
    for new in (-1.0, -0.001, -math.inf):
        yield Case(f"B11 watch is {new} ms", value("watch_ms", new), 1, "a duration is at least 0")
    for new in (3_600_001.0, 1e38, math.inf):
        yield Case(f"B11 watch is {new} ms", value("watch_ms", new), 1, "a duration is at most")
    for new, text in ((0.99, "at least 1"), (5.01, "at most 5"), (-math.inf, "at least 1")):
        yield Case(f"B12 rating is {new}", value("rating", new, 8), 1, text)
    yield Case("B12 rating is inf", value("rating", math.inf, 8), 1, "a label is finite")
    for new in (2, -1):
        yield Case(f"B12 mask is {new}", value("asked", new), 1, "mask of task 'rating' is 0 or 1")
    three = both(value("click", 3, 1), value("click", 4, 20), value("click", 5, 39))
    yield Case("B12 three clicks", three, 3, "3 rows (1, 20, 39) hold 3")
    two_rules = both(value("click", 3), value("watch_ms", -5.0))
    yield Case("B12 two rules in one row", two_rules, 1, "a duration is at least 0")


def good_labels() -> Iterator[Case]:
    """B12 to B15: labels that are missing, of one class, or outside their sample space."""
    for spelled, new in (("null", None), ("nan", math.nan)):
        one = value("click", new, dtype=pa.float64())
        yield Case(f"B12 click is {spelled}", one)
        alone = both(one, value("watch_ms", None))
        yield Case(f"B14 nothing observed, click {spelled}", alone, masked=1)
    for new in (0.0, 3_600_000.0, 5e-324, -0.0):
        yield Case(f"B11 watch is {new} ms", value("watch_ms", new))
    for new in (1.0, 5.0):
        yield Case(f"B12 rating is {new}", value("rating", new, 8))
    yield Case("B12 a wrong rating that is masked", value("rating", -99.0, 7))
    yield Case("B12 mask is null", value("asked", None))
    yield Case("B12 a like without a click", value("like", 1.0, 7))
    yield Case("B13 all clicks are 0", every("click", lambda _: 0))
    yield Case("B13 all clicks are 1", every("click", lambda _: 1))
    yield Case("B14 no like at all", every("like", lambda _: None))
    unseen = [every(label, lambda _: None) for label in ("click", "like", "watch_ms", "rating")]
    yield Case("B15 no label at all", both(*unseen), masked=NUM_ROWS)
    sentinel = (*TASKS[:2], TASKS[2].model_copy(update={"missing_values": (-1,)}), TASKS[3])
    unknown = value("watch_ms", -1.0)
    yield Case("B12 watch is a declared sentinel", unknown, schema={"tasks": sentinel})
    named = (Binary(name="click", label="city", positive=("Rome",)),)
    rest = tuple(f for f in FEATURES if f.name != "city")
    changes = {"tasks": named, "features": rest}
    yield Case("B12 a label by name", nothing, masked=1, schema=changes)
    stars = (Binary(name="like", label="rating", positive=(4, 5)), Regression(name="rating"))
    yield Case("B12 one column, two labels", nothing, schema={"tasks": stars})


def numbers() -> Iterator[Case]:
    """B10: numbers at the edge."""
    for endless in (math.inf, -math.inf):
        change = value("age", endless)
        yield Case(f"B10 age is {endless}", change, 1, "numeric feature 'age' is finite")
    for new in (math.nan, None, 1e38, -1e308, 5e-324, -0.0):
        yield Case(f"B10 age is {new}", value("age", new))
    strict = tuple(
        Numeric(name="age", on_missing="refuse") if f.name == "age" else f for f in FEATURES
    )
    filled = {"features": strict}
    yield Case("B10 age may not be null", nothing, 1, "may not be missing", schema=filled)
    nan = value("age", math.nan)
    yield Case("B10 age may not be NaN", nan, 2, "may not be missing", schema=filled)
    declared = tuple(
        Numeric(name="age", missing_values=(-124,)) if f.name == "age" else f for f in FEATURES
    )
    sentinel = value("age", -124.0)
    yield Case("B10 age is a declared sentinel", sentinel, schema={"features": declared})


def keys() -> Iterator[Case]:
    """Keys that are none."""
    for new in (-1.0, math.nan, math.inf, -math.inf, None):
        yield Case(f"B10 weight is {new}", value("weight", new), 1, "a weight is at least 0")
    for new in (0.0, -0.1, 1.1, math.nan, math.inf, None):
        yield Case(f"B10 propensity is {new}", value("propensity", new), 1, "lies in (0, 1]")
    for new in (0, -1):
        yield Case(f"B9 position is {new}", value("position", new), 1, "a position counts from 1")
    yield Case("B9 user is null", value("user_id", None), 1, "key `user` may not be null")
    yield Case("B20 time is null", value("time_ms", None), 1, "key `time` may not be null")
    for new, spelled in (
        (0, "the epoch"),
        (START_MS // 1000, "in seconds"),
        (START_MS * 1000, "in microseconds"),
        (START_MS * 20, "in the year 3015"),
        (-START_MS, "before the epoch"),
    ):
        yield Case(f"B20 time is {spelled}", value("time_ms", new), 1, "the years 1990 and 2100")
    for new in (0.0, 5e-324, 1e308):
        yield Case(f"B10 weight is {new}", value("weight", new))
    yield Case("B10 propensity is 1", value("propensity", 1.0))
    yield Case("B9 position is null", value("position", None))
    yield Case("B20 rows run backwards", backwards)
    days = every("time_ms", lambda old: 20220400 + (old - START_MS) // DAY_MS)
    yield Case("B20 days as numbers", days)
    yield Case("B20 a counter as time", every("time_ms", lambda old: (old - START_MS) // DAY_MS))


def ids() -> Iterator[Case]:
    """B9: ids at the edge."""
    for new in (-1, 0, 2**63 - 1, -(2**63)):
        yield Case(f"B9 user is {new}", value("user_id", new))
    beyond = value("user_id", 2**63, dtype=pa.uint64())
    yield Case("B9 user is 2^63", beyond, 1, "within int64", formats=("parquet",))
    # In CSV one such id makes the column text, and ids of text may be anything.
    yield Case("B9 user is 2^63 as text", value("user_id", 2**63), formats=("csv",))
    yield Case("B9 user is text among numbers", value("user_id", "x7"), formats=("csv",))
    as_float = every("user_id", float, pa.float64())
    yield Case("B6 whole users as float", as_float)
    half = both(as_float, value("user_id", 7.5))
    yield Case("B6 half a user", half, 1, "whole numbers", formats=("parquet",))
    big = both(as_float, value("user_id", 2.0**53 + 2))
    yield Case("B6 user beyond 2^53 as float", big, 1, "whole numbers", formats=("parquet",))
    for text in ("", "x" * 10_000, "a\nb", 'a"b', "a,b", "İi", "\U0001f600", "a\x00b", "NULL"):
        yield Case(f"B25 item is {text[:10]!r}", value("item_id", text))
    yield Case("B9 item is null", value("item_id", None))
    yield Case("B19 a history of 10,000", value("history", [f"i{k}" for k in range(10_000)]))
    yield Case("B10 history is null", value("history", None))
    yield Case("B10 tags are empty", value("tags", "||"))


def vectors() -> Iterator[Case]:
    """Embeddings that are none; CSV holds none at all."""
    for new, text in (
        ([1.0, 2.0], "has 3 numbers"),
        ([1.0, 2.0, 3.0, 4.0], "has 3 numbers"),
        ([], "has 3 numbers"),
        ([1.0, math.nan, 3.0], "finite"),
        ([math.inf, 2.0, 3.0], "finite"),
        ([1.0, None, 3.0], "finite"),
    ):
        yield Case(f"B10 vec is {new}", value("vec", new), 1, text, formats=("parquet",))
    double = value("vec", [1e300, 0.0, 0.0], dtype=pa.list_(pa.float64()))
    yield Case("B10 vec beyond float32", double, 1, "finite", formats=("parquet",))
    yield Case("B10 vec is null", value("vec", None), formats=("parquet",))


def columns() -> Iterator[Case]:
    """B4, B5 and B7: columns that are missing, new, twice or elsewhere."""
    for name in TYPES:
        formats = ("parquet",) if name == "vec" else BOTH
        lacks = f"lacks column {name!r}"
        yield Case(f"B4 without {name}", drop(name), 0, lacks, 3, rows=0, formats=formats)
    several = drop("age", "click", "weight")
    yield Case("B4 without three", several, 0, "3 problems with the log", 3, rows=0)
    case = rename("age", "Age")
    yield Case("B7 another case", case, 0, "Did you mean 'Age'?", 3, rows=0)
    typing = rename("watch_ms", "wach_ms")
    yield Case("B4 a typing error", typing, 0, "Did you mean 'wach_ms'?", 3, rows=0)
    yield Case("B5 a new column", added)
    yield Case("B7 columns in another order", permuted)


def types() -> Iterator[Case]:
    """B6: types that do not do; CSV has none, so there it is the values that do not."""
    text = every("age", lambda old: f"about {old:.0f}", pa.string())
    yield Case("B6 age is text", text, 0, "column 'age'", 3, rows=0)
    yes = every("click", lambda old: "yes" if old else "no", pa.string())
    yield Case("B6 click is yes or no", yes, 0, "column 'click'", 3, rows=0)
    flag = every("click", bool, pa.bool_())
    yield Case("B6 click is a boolean", flag)
    for new in ("old", "1,5", "1 000", "0x10", "1_000", "١"):
        message = f"holds {new!r}: the first rows of the column hold a number"
        yield Case(f"B17 one age is {new!r}", value("age", new), 1, message, formats=("csv",))
    when = value("time_ms", "yesterday")
    yield Case("B17 one time is text", when, 1, "a whole number", formats=("csv",))
    label = value("click", "maybe")
    yield Case("B17 one click is text", label, 1, "hold a number", formats=("csv",))
    dates = every(
        "time_ms", lambda old: f"2022-04-{1 + (old - START_MS) // DAY_MS:02}", pa.string()
    )
    yield Case("B6 time is text", dates, 0, "column 'time_ms'", 3, rows=0, formats=("parquet",))
    yield Case("B6 time is a date in CSV", dates, formats=("csv",))


def sizes() -> Iterator[Case]:
    """B16: few rows, and none."""
    yield Case("B16 no row", first_rows(0), 0, "the log holds no rows", 3, rows=0)
    for num_rows in (1, 2, 3):
        yield Case(f"B16 {num_rows} rows", first_rows(num_rows), rows=num_rows)


def repetitions() -> Iterator[Case]:
    """B18: rows that repeat."""
    rows = NUM_ROWS + 3
    thrice = repeat(3, 3, 17)
    first, error = Deduplicate(), Deduplicate(keep="error")
    yield Case("B18 kept", thrice, rows=rows)
    yield Case("B18 keep first", thrice, duplicates=3, rows=rows, schema={"deduplicate": first})
    none = {"deduplicate": error}
    yield Case("B18 refused", thrice, 0, "none may", 3, duplicates=3, rows=rows, schema=none)
    window = Deduplicate(window=30)
    # Row 40 repeats row 3 (37 back), row 41 repeats row 40, row 42 repeats row 17 (25 back).
    yield Case("B18 a window", thrice, duplicates=2, rows=rows, schema={"deduplicate": window})
    by = Deduplicate(columns=("user_id", "item_id"))
    once = {(row % 7, row % 11) for row in range(NUM_ROWS)}
    yield Case(
        "B18 by two columns", nothing, duplicates=NUM_ROWS - len(once), schema={"deduplicate": by}
    )
    bad = both(value("click", 2, 3), repeat(3, 4))
    yield Case(
        "B18 a bad row repeated",
        bad,
        2,
        "0 or 1",
        duplicates=1,
        rows=NUM_ROWS + 2,
        schema={"deduplicate": first},
    )


CASES = [
    Case("clean", nothing),
    *bad_labels(),
    *good_labels(),
    *numbers(),
    *keys(),
    *ids(),
    *vectors(),
    *columns(),
    *types(),
    *sizes(),
    *repetitions(),
]
