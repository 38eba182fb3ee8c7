from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.data.encoding.targets import TargetFit
from polyrank.data.lint import SAMPLE_ROWS, DataWarning, Sample
from polyrank.data.reader import Reader
from polyrank.data.source import open_log
from polyrank.data.split import RandomSplit, TimeSplit, UserSplit
from polyrank.data.validate import validate_log
from polyrank.errors import ConfigError, DataError, PolyrankError
from polyrank.schema import (
    Binary,
    Categorical,
    Deduplicate,
    Duration,
    Feature,
    Keys,
    Numeric,
    Schema,
)
from tests.data.impressions import (
    START_MS,
    TYPES,
    columns_of,
    schema_of,
    table_of,
    write_csv,
    write_parquet,
)


def problems_of(table: pa.Table, schema: Schema, **options: Any) -> list[PolyrankError]:
    return validate_log(open_log(table), schema, **options)


def warnings_of(problems: list[PolyrankError]) -> list[str]:
    assert all(isinstance(problem, DataWarning) for problem in problems), problems
    assert all(problem.exit_code == 0 for problem in problems)
    return [problem.message for problem in problems]


def test_a_clean_log_has_no_problem(tmp_path: Path) -> None:
    schema = schema_of(vector=False)
    path = write_parquet(tmp_path / "log.parquet", table_of(columns_of(200)))
    assert validate_log(open_log(path), schema) == []
    columns = columns_of(200)
    del columns["vec"]
    assert validate_log(open_log(write_csv(tmp_path / "log.csv", columns)), schema) == []


def test_missing_columns_and_bad_rows_are_told_together() -> None:
    columns, types = columns_of(), dict(TYPES)
    del columns["weight"]
    columns["city"] = [[1]] * 40
    columns["watch_ms"][3] = -1.0
    columns["age"][4] = float("inf")
    types["city"] = None
    told = [str(problem) for problem in problems_of(table_of(columns, types), schema_of())]
    assert len(told) == 4
    for piece in (
        "lacks column 'weight'",
        "column 'city'",
        "row 3, column 'watch_ms'",
        "row 4, column 'age'",
    ):
        assert any(piece in problem for problem in told), piece


def test_every_rule_and_every_damaged_file_is_told(tmp_path: Path) -> None:
    table = pa.table({"item": np.arange(5000), "click": np.arange(5000) % 2})
    schema = Schema(features=(Numeric(name="item"),), tasks=(Binary(name="click"),))
    for name in "abc":
        path = write_parquet(
            tmp_path / f"{name}.parquet", table, compression="none", use_dictionary=False
        )
        if name != "b":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    problems = validate_log(open_log(tmp_path), schema)
    told = [str(problem) for problem in problems if not isinstance(problem, DataWarning)]
    assert [text[:9] for text in told] == ["a.parquet", "c.parquet"]
    (tmp_path / "a.parquet").write_bytes(b"")
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    problems = validate_log(open_log(tmp_path), schema)
    assert [problem.where for problem in problems] == ["a.parquet", "c.parquet"]


def test_a_request_that_does_not_fit_is_one_problem() -> None:
    table = table_of(columns_of())
    (problem,) = problems_of(table, schema_of(), split=RandomSplit())
    assert isinstance(problem, ConfigError)
    (problem,) = problems_of(table, schema_of(), split=TimeSplit(validation_from="2022-04-29"))
    assert "another kind" in str(problem)


def test_a_log_of_which_nothing_fits_has_only_those_problems() -> None:
    assert all("lacks column" in str(p) for p in problems_of(pa.table({"x": [1]}), schema_of()))


def test_an_empty_log_is_a_problem() -> None:
    (problem,) = problems_of(table_of(columns_of()).slice(0, 0), schema_of())
    assert "the log holds no rows" in str(problem)


def test_a_log_of_bad_rows_only_is_told_by_its_rule() -> None:
    columns = columns_of()
    columns["weight"] = [-1.0] * 40
    (problem,) = problems_of(table_of(columns), schema_of())
    assert "40 rows (0, 1, 2, 3, 4, ...) hold -1.0, ...: a weight" in problem.message


def test_labels_are_missed_only_in_rows_that_may_be_set_aside() -> None:
    """A refused row may hold the label; where it may be refused, the label has to be elsewhere."""
    columns = columns_of()
    columns["like"] = [1, *[None] * 39]
    columns["click"][0] = 1
    columns["weight"][0] = -1.0
    (problem,) = problems_of(table_of(columns), schema_of())
    assert "a weight" in problem.message
    allowed = problems_of(table_of(columns), schema_of(), max_quarantine_share=0.1)
    assert [str(p).partition(" in")[0] for p in allowed if not isinstance(p, DataWarning)] == [
        str(problem).partition(" in")[0],
        "task 'like': no label was observed",
    ]


def test_only_training_rows_give_labels_to_learn_from() -> None:
    columns = columns_of()
    split = TimeSplit(validation_from=START_MS + 5 * 86_400_000)
    late = [time >= START_MS + 5 * 86_400_000 for time in columns["time_ms"]]
    columns["click"] = [int(is_late) for is_late in late]
    (error,) = [p for p in problems_of(table_of(columns), schema_of(), split=split) if p.exit_code]
    assert str(error).startswith("task 'click': all 20 observed labels are 0 over the training")


def test_parts_without_rows_are_problems() -> None:
    table = table_of(columns_of())
    split = TimeSplit(validation_from=10**13, test_from=2 * 10**13)
    told = [str(problem) for problem in problems_of(table, schema_of(), split=split)]
    assert told == [
        f"data.split: none of the 40 rows of the log is in part {part!r}. "
        "Check its bounds or shares."
        for part in ("validation", "test")
    ]
    # Seven users: a share of a thousandth most likely holds none of them.
    (problem,) = problems_of(table, schema_of(), split=UserSplit(validation=0.001))
    assert "is in part 'validation'" in str(problem)


def test_tasks_of_one_class_or_without_labels() -> None:
    columns = columns_of()
    columns["click"] = [0] * 40
    (error,) = problems_of(table_of(columns), schema_of())
    assert str(error) == (
        "task 'click': all 40 observed labels are 0 over the training rows, so none is in the "
        "sample space of like. Check its label and `positive`, or give more of the log."
    )
    fit = TargetFit(schema_of())
    for chunk in Reader(open_log(table_of(columns)), schema_of()).chunks("all"):
        fit.add(chunk)
    with pytest.raises(DataError) as refused:
        fit.finish()
    assert str(refused.value) == str(error)
    columns["click"] = [None] * 40
    (error,) = problems_of(table_of(columns), schema_of())
    assert str(error).startswith("task 'click': no label was observed in its sample space")
    columns = columns_of()
    columns["like"] = [0] * 40
    (warning,) = warnings_of(problems_of(table_of(columns), schema_of()))
    assert "observed labels are 0" in warning


@pytest.mark.parametrize(
    ("rules", "kind"),
    [(None, DataWarning), (Deduplicate(), None), (Deduplicate(keep="error"), DataError)],
)
def test_repeated_rows(rules: Deduplicate | None, kind: type[DataError] | None) -> None:
    table = table_of(columns_of())
    twice = pa.concat_tables([table, table.slice(3, 2)])
    problems = problems_of(twice, schema_of(deduplicate=rules))
    assert [type(problem) for problem in problems] == ([] if kind is None else [kind])
    assert all("2 rows repeat an earlier one" in str(problem) for problem in problems)


RNG = np.random.default_rng(0)
NUM_ROWS = 3000
CLICK = RNG.random(NUM_ROWS) < 0.3
WATCH = RNG.exponential(10.0, NUM_ROWS)


def leaky(feature: Feature, values: Any, *, clicks: Any = CLICK) -> list[str]:
    """Warnings on a log with one planted feature beside an honest one."""
    honest = RNG.normal(size=NUM_ROWS) + CLICK  # tells something, as a feature should
    table = pa.table({"f": values, "honest": honest, "click": clicks, "watch": WATCH})
    schema = Schema(
        features=(feature, Numeric(name="honest")),
        tasks=(Binary(name="click"), Duration(name="watch")),
    )
    return warnings_of(problems_of(table, schema))


NUMERIC, CATEGORICAL = Numeric(name="f"), Categorical(name="f")


@pytest.mark.parametrize(
    ("feature", "values", "task"),
    [
        (NUMERIC, CLICK + RNG.normal(0, 0.01, NUM_ROWS), "click"),
        (NUMERIC, -3.0 * CLICK, "click"),
        (NUMERIC, WATCH * 1000, "watch"),
        (NUMERIC, -WATCH, "watch"),
        (NUMERIC, [5.0 if click else None for click in CLICK], "click"),
        (CATEGORICAL, ["bought" if click else "seen" for click in CLICK], "click"),
        (CATEGORICAL, [int(click) for click in CLICK], "click"),
        (CATEGORICAL, [None if click else "seen" for click in CLICK], "click"),
        (CATEGORICAL, [f"p{RNG.integers(20)}-{click}" for click in CLICK], "click"),
    ],
)
def test_planted_leaks_are_caught(feature: Feature, values: Any, task: str) -> None:
    (warning,) = leaky(feature, values)
    assert warning.startswith(f"feature 'f' alone predicts task {task!r} with an AUC of ")


@pytest.mark.parametrize(
    ("feature", "values"),
    [
        (NUMERIC, RNG.normal(size=NUM_ROWS)),
        (NUMERIC, CLICK + RNG.normal(0, 1.0, NUM_ROWS)),
        (NUMERIC, [None] * NUM_ROWS),
        (CATEGORICAL, RNG.integers(0, 5, NUM_ROWS)),
        (CATEGORICAL, RNG.integers(0, 2000, NUM_ROWS)),
        (CATEGORICAL, [f"u{k // 2}" for k in range(NUM_ROWS)]),
    ],
)
def test_honest_features_are_left_alone(feature: Feature, values: Any) -> None:
    assert leaky(feature, values) == []


def test_too_few_rows_accuse_nobody() -> None:
    clicks = [1.0] * 19 + [0.0] * 100 + [None] * (NUM_ROWS - 119)
    assert leaky(NUMERIC, [1.0 if click == 1.0 else 0.0 for click in clicks], clicks=clicks) == []
    clicks[19] = 1.0
    assert len(leaky(NUMERIC, [1.0 if c == 1.0 else 0.0 for c in clicks], clicks=clicks)) == 1


def test_a_feature_that_names_the_row_is_told() -> None:
    (warning,) = leaky(CATEGORICAL, [f"row-{k}" for k in range(NUM_ROWS)])
    assert warning.startswith("feature 'f' differs in every row")
    table = pa.table({"f": range(900), "click": [0, 1] * 450})
    schema = Schema(features=(CATEGORICAL,), tasks=(Binary(name="click"),))
    assert problems_of(table, schema) == []  # too few to tell an id from chance


def test_the_sample_is_even_bounded_and_the_same_again() -> None:
    def sample(chunk_rows: int) -> list[int]:
        sample = Sample(1000)
        for start in range(0, 100_000, chunk_rows):
            sample.add(pa.table({"x": range(start, start + chunk_rows)}))
        table = sample.table()
        assert table is not None
        return [int(x) for x in table.column("x").to_pylist()]

    rows = sample(1000)
    assert rows == sorted(rows)
    assert 1000 <= len(rows) <= 2000
    assert np.histogram(rows, bins=10, range=(0, 100_000))[0].min() > len(rows) / 10 * 0.7
    assert sample(1000) == rows
    assert Sample().table() is None
    assert SAMPLE_ROWS == 50_000


def test_a_key_in_the_log_decides_the_plausible_years() -> None:
    columns = columns_of()
    columns["time_ms"][7] //= 1000
    schema = schema_of(keys=Keys(user="user_id", time="time_ms"))
    (problem,) = problems_of(table_of(columns), schema)
    assert str(problem).startswith(
        "table, row 7, column 'time_ms': holds 1650151200: a time lies between"
    )
