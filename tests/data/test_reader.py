from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.data.observed import label_values, observed_mask
from polyrank.data.quarantine import Quarantine
from polyrank.data.reader import Reader
from polyrank.data.source import open_log
from polyrank.data.split import TimeSplit
from polyrank.errors import ConfigError, DataError, PolyrankError
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Duration,
    Keys,
    Numeric,
    Regression,
    Schema,
)
from polyrank.schema import Sequence as Watched
from tests.data.impressions import (
    START_MS,
    TYPES,
    columns_of,
    schema_of,
    table_of,
    write_csv,
    write_parquet,
)

ROOT = Path(__file__).parents[2]


def read(log: Any, schema: Schema | None = None, **options: Any) -> pa.Table:
    return pa.concat_tables(Reader(open_log(log), schema or schema_of(), **options).chunks())


def test_a_clean_log_comes_as_it_is_in_the_types_handed_on() -> None:
    columns = columns_of()
    reader = Reader(open_log(table_of(columns)), schema_of())
    (table,) = reader.chunks()
    assert table.schema.equals(reader.schema)
    expected = {
        **columns,
        "tags": [
            None if tags is None else tags.split("|") if tags else [] for tags in columns["tags"]
        ],
    }
    assert table.to_pydict() == {name: expected[name] for name in table.column_names}
    assert set(table.column_names) == set(columns)
    assert {field.name: str(field.type) for field in table.schema} == {
        "user_id": "int64",
        "item_id": "large_string",
        "age": "double",
        "city": "large_string",
        "tags": "large_list<item: large_string>",
        "history": "large_list<item: large_string>",
        "vec": "fixed_size_list<item: float>[3]",
        "click": "double",
        "like": "double",
        "watch_ms": "double",
        "rating": "double",
        "asked": "double",
        "request_id": "int64",
        "time_ms": "int64",
        "position": "int64",
        "propensity": "double",
        "weight": "double",
    }


def test_every_format_gives_the_same_table(tmp_path: Path) -> None:
    columns = columns_of()
    del columns["vec"]
    schema = schema_of(vector=False)
    table = table_of(columns)
    write_csv(tmp_path / "log.csv", columns)
    write_parquet(tmp_path / "log.parquet", table, row_group_size=7)
    with pa.ipc.new_file(tmp_path / "log.arrow", table.schema) as writer:
        writer.write_table(table)
    logs = [table, *(tmp_path / f"log.{suffix}" for suffix in ("csv", "parquet", "arrow"))]
    tables = [read(log, schema).combine_chunks() for log in logs]
    # CSV cannot tell an empty text or list from none.
    for name in ("tags", "history"):
        place = tables[1].schema.get_field_index(name)
        assert [x or None for x in tables[1].column(name).to_pylist()] == [
            x or None for x in tables[0].column(name).to_pylist()
        ]
        tables[1] = tables[1].set_column(place, name, tables[0].column(name))
    for other in tables[1:]:
        assert other.equals(tables[0])


@pytest.mark.parametrize("order", ["forward", "backward"])
def test_the_order_of_columns_changes_nothing(order: str) -> None:
    columns = columns_of()
    names = list(columns)[:: 1 if order == "forward" else -1]
    assert read(table_of({name: columns[name] for name in names})).equals(read(table_of(columns)))


def test_new_columns_are_ignored_and_told_or_refused() -> None:
    table = table_of(columns_of()).append_column("new", pa.array(range(40)))
    reader = Reader(open_log(table), schema_of())
    assert reader.ignored == ("new",)
    assert "new" not in reader.schema.names
    with pytest.raises(DataError, match="nothing reads 'new'"):
        Reader(open_log(table), schema_of(), strict=True)
    Reader(open_log(table_of(columns_of())), schema_of(), strict=True)


def test_columns_with_one_name_are_refused(tmp_path: Path) -> None:
    table = table_of(columns_of()).append_column("age", pa.array(range(40)))
    with pytest.raises(DataError, match="^table: has more than one column 'age'"):
        Reader(open_log(table), schema_of())
    (tmp_path / "log.csv").write_text("age,age,click\n1,2,0\n")
    schema = Schema(features=(Numeric(name="age"),), tasks=(Binary(name="click"),))
    with pytest.raises(DataError, match=r"^log\.csv: has more than one column 'age'"):
        Reader(open_log(tmp_path / "log.csv"), schema)


def test_everything_missing_or_unfit_is_told_at_once_before_a_row_is_read(tmp_path: Path) -> None:
    columns = columns_of()
    for name in ("age", "click", "weight"):
        columns[f"{name}2"] = columns.pop(name)
    columns["city"] = [[1]] * 40
    path = write_parquet(tmp_path / "log.parquet", table_of(columns, {}))
    with pytest.raises(DataError) as caught:
        Reader(open_log(path), schema_of())
    text = str(caught.value)
    assert text.startswith("4 problems with the log")
    for piece in (
        "log.parquet: lacks column 'age' (numeric feature 'age'). Did you mean 'age2'?",
        "lacks column 'click' (label of task 'click')",
        "lacks column 'weight' (key `weight`)",
        "column 'city' (categorical feature 'city') is list",
    ):
        assert piece in text


def test_a_fault_of_many_files_is_told_once(tmp_path: Path) -> None:
    for name in "abcd":
        columns = columns_of()
        if name != "a":
            del columns["age"]
        write_parquet(tmp_path / f"{name}.parquet", table_of(columns))
    with pytest.raises(DataError, match=r"^b\.parquet and 2 more files: lacks column 'age'"):
        Reader(open_log(tmp_path), schema_of())


def test_shards_of_different_width_are_one_log(tmp_path: Path) -> None:
    columns = columns_of()
    wide = table_of(columns)
    narrow = wide.set_column(0, "user_id", wide.column("user_id").cast(pa.int32()))
    write_parquet(tmp_path / "a.parquet", narrow)
    write_parquet(tmp_path / "b.parquet", wide.slice(0, 0))
    write_parquet(tmp_path / "c.parquet", wide)
    table = read(tmp_path)
    assert table.column("user_id").to_pylist() == columns["user_id"] * 2


def test_faults_in_several_files_name_the_first_and_the_last(tmp_path: Path) -> None:
    for name, row in (("a", 3), ("b", None), ("c", 5)):
        columns = columns_of()
        if row is not None:
            columns["age"][row] = float("inf")
        write_parquet(tmp_path / f"{name}.parquet", table_of(columns))
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    (problem,) = caught.value.problems
    assert problem.where == "a.parquet row 3 to c.parquet row 5, column 'age'"
    assert problem.message.startswith("2 rows (3, 5) hold inf: numeric feature 'age' is finite")


def test_the_message_says_all_that_is_needed() -> None:
    columns = columns_of()
    for row in range(10, 30):
        columns["click"][row] = row
    with pytest.raises(DataError) as caught:
        read(table_of(columns))
    assert str(caught.value) == (
        "20 of 40 rows (50.00%) are refused, and 0.00% may be. Mend them, or what the schema says "
        "of their columns.\n"
        "- table, rows 10-29, column 'click': 20 rows (10, 11, 12, 13, 14, ...) hold 10, 11, 12, "
        "13, 14, ...: task 'click': a binary label is 0 or 1, or null where it was not observed. "
        "Mend it, list the values that mean 1 in `positive`, or those that mean not observed in "
        "`missing_values`."
    )


@pytest.mark.parametrize("task", [Duration(name="watch"), Regression(name="watch")])
def test_only_a_binary_label_of_another_type_is_offered_positive(
    task: Duration | Regression,
) -> None:
    for values in (["1 s", "2 s"], pa.array([1, 2], pa.duration("s"))):
        log = open_log(pa.table({"age": [1.0, 2.0], "watch": values}))
        with pytest.raises(PolyrankError, match="a label is a number. Cast it to") as caught:
            list(Reader(log, Schema(features=(Numeric(name="age"),), tasks=(task,))).chunks("all"))
        assert "positive" not in str(caught.value)
    binary = Schema(features=(Numeric(name="age"),), tasks=(Binary(name="watch"),))
    with pytest.raises(PolyrankError, match="list the values that mean 1 in `positive`"):
        list(Reader(open_log(pa.table({"age": [1.0], "watch": ["1"]})), binary).chunks("all"))


def test_a_long_value_is_cut_in_the_message() -> None:
    columns = columns_of()
    columns["vec"][3] = [1.0] * 1000
    with pytest.raises(DataError) as caught:
        read(table_of(columns))
    assert len(str(caught.value)) < 500


def test_a_table_in_memory_may_be_read_by_parts() -> None:
    split = TimeSplit(validation_from=START_MS + 5 * 86_400_000)
    reader = Reader(open_log(table_of(columns_of()), chunk_rows=3), schema_of(), split=split)
    sizes = {part: sum(t.num_rows for t in reader.chunks(part)) for part in ("train", "validation")}
    assert sizes == {"train": 20, "validation": 20}
    assert sum(t.num_rows for t in reader.chunks("all")) == 40
    with pytest.raises(DataError, match="none of the 40 rows of the log is in part 'test'"):
        list(reader.chunks("test"))


def test_parts_have_to_exist() -> None:
    reader = Reader(open_log(table_of(columns_of())), schema_of())
    with pytest.raises(ConfigError, match="there is no part 'train'.*Give a split, or read all"):
        reader.chunks("train")
    with pytest.raises(ConfigError, match="there is no part 'dev'.*Parts: train, validation, test"):
        reader.chunks("dev")  # type: ignore[arg-type]


def test_a_bad_row_counts_in_its_own_part_only() -> None:
    columns = columns_of()
    columns["click"][2] = 7
    columns["click"][35] = 7
    columns["time_ms"][36] = None
    split = TimeSplit(validation_from=START_MS + 5 * 86_400_000)
    quarantine = Quarantine(max_share=0.2)
    reader = Reader(open_log(table_of(columns)), schema_of(), split=split, quarantine=quarantine)
    for part in ("train", "validation"):
        list(reader.chunks(part))
    counts = {part: (c.read, c.quarantined) for part, c in reader.ledger.parts.items()}
    # A row without a time is in no part; it is counted, and refused, with training.
    assert counts == {"train": (21, 2), "validation": (19, 1)}


def test_scoring_needs_no_labels_and_keeps_every_row() -> None:
    columns = columns_of()
    for name in ("click", "like", "watch_ms", "rating", "asked", "time_ms", "weight", "position"):
        del columns[name]
    reader = Reader(open_log(table_of(columns)), schema_of(), labels=False)
    (table,) = reader.chunks()
    assert table.num_rows == 40
    assert {"user_id", "item_id", "request_id", "age"} <= set(table.column_names)
    assert reader.ledger.parts["all"].masked == 40
    for name in ("request_id", "propensity"):
        del columns[name]
    read(table_of(columns), labels=False)
    columns["age"][3] = float("inf")
    with pytest.raises(DataError, match="row 3, column 'age'"):
        read(table_of(columns), labels=False)


def test_further_columns_are_handed_on_as_they_are() -> None:
    table = table_of(columns_of()).append_column("truth", pa.array([{"p": k} for k in range(40)]))
    handed = read(table, extra=["truth", "city"])
    assert handed.column("truth").equals(table.column("truth"))
    assert handed.column("city").to_pylist() == columns_of()["city"]
    with pytest.raises(DataError, match="lacks column 'nothing' .asked for."):
        Reader(open_log(table), schema_of(), extra=["nothing"])


def test_one_column_may_have_several_uses() -> None:
    schema = Schema(
        features=(
            Categorical(name="hour"),
            Numeric(name="hour_number", column="hour"),
            Categorical(name="user", column="user_id", missing_values=(0,)),
        ),
        tasks=(Binary(name="like", label="stars", positive=(4, 5)), Regression(name="stars")),
        keys=Keys(user="user_id"),
    )
    log = pa.table({"hour": [1, 2], "user_id": [0, 3], "stars": [5, None]})
    table = read(log, schema)
    # The anonymous user is missing as a feature, and no fault as a key.
    assert table.to_pydict() == {"hour": [1, 2], "user_id": [None, 3], "stars": [5.0, None]}


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            (
                Categorical(name="a", column="x"),
                Categorical(name="b", column="x", missing_values=(0,)),
            ),
            "name different `missing_values`",
        ),
        ((Categorical(name="a", column="x"), Bag(name="b", column="x")), "in different ways"),
        (
            (Bag(name="a", column="x", separator=","), Bag(name="b", column="x", separator="|")),
            "in different ways",
        ),
    ],
)
def test_uses_that_contradict_each_other_are_refused(features: Any, message: str) -> None:
    schema = Schema(features=features, tasks=(Binary(name="click"),))
    with pytest.raises(ConfigError, match=message):
        Reader(open_log(pa.table({"x": ["a"], "click": [1]})), schema)
    both = (
        *features,
        *(f.model_copy(update={"name": f.name * 2, "column": "y"}) for f in features),
    )
    schema = Schema(features=both, tasks=(Binary(name="click"),))
    with pytest.raises(ConfigError, match="2 columns are read in two ways"):
        Reader(open_log(pa.table({"x": ["a"], "y": ["a"], "click": [1]})), schema)


LABEL = st.none() | st.sampled_from([0.0, 1.0, float("nan")])
CHAIN = Schema(
    features=(Numeric(name="x"),),
    tasks=(
        Binary(name="click"),
        Binary(name="buy", within="click", mask="asked"),
        Binary(name="again", within="buy", label="mood", positive=("good",)),
        Duration(name="stay", within="again"),
    ),
)
ROW = st.tuples(
    LABEL, LABEL, st.sampled_from([0, 1]), st.sampled_from(["good", "bad", None]), LABEL
)


@given(st.lists(ROW, min_size=1, max_size=20))
def test_what_was_observed_is_what_plain_python_says(rows: list[tuple[Any, ...]]) -> None:
    click, buy, asked, mood, stay = (list(column) for column in zip(*rows, strict=True))
    log = pa.table(
        {
            "x": pa.array([1.0] * len(rows)),
            "click": pa.array(click, pa.float64()),
            "buy": pa.array(buy, pa.float64()),
            "asked": asked,
            "mood": pa.array(mood, pa.string()),
            "stay": pa.array(stay, pa.float64()),
        }
    )
    reader = Reader(open_log(log), CHAIN)
    (table,) = reader.chunks()

    def seen(value: Any) -> bool:
        return value is not None and value == value

    expected: dict[str, list[bool]] = {name: [] for name in CHAIN.task_names}
    outside = {"buy": 0, "again": 0, "stay": 0}
    for c, b, a, m, s in rows:
        inside = c == 1
        expected["click"].append(seen(c))
        expected["buy"].append(inside and seen(b) and a == 1)
        outside["buy"] += bool(not inside and b == 1 and a == 1)
        inside = inside and b == 1 and a == 1
        expected["again"].append(inside and m is not None)
        outside["again"] += bool(not inside and m == "good")
        expected["stay"].append(inside and m == "good" and seen(s))
        denied = c == 0 or (b == 0 and a == 1) or m == "bad"
        outside["stay"] += denied and s == 1
    observed = observed_mask(table, CHAIN)
    assert {name: mask.tolist() for name, mask in observed.items()} == expected
    counts = reader.ledger.parts["all"]
    assert counts.used == sum(map(any, zip(*expected.values(), strict=True)))
    what = {"buy": "1", "again": "1", "stay": "not 0"}
    assert counts.noted == {
        f"label {name!r} is {what[name]} outside its sample space: masked": n
        for name, n in outside.items()
        if n
    }
    for task in CHAIN.tasks:
        values = label_values(table, task)[observed[task.name]]
        label = counts.labels[task.name]
        assert label.observed == len(values)
        assert (label.low, label.high) == (
            (min(values), max(values)) if len(values) else (None, None)
        )


@given(st.data())
def test_any_schema_edit_is_refused_by_name_or_harmless(data: st.DataObject) -> None:
    columns = columns_of(8)
    schema = schema_of()
    names = data.draw(st.lists(st.sampled_from(sorted(columns)), unique=True, max_size=5))
    edit = data.draw(st.sampled_from(["drop", "rename", "upper", "text"]))
    edited = {}
    for name, values in columns.items():
        if name not in names:
            edited[name] = values
        elif edit == "text":
            edited[name] = ["x"] * 8
        elif edit != "drop":
            edited[name.upper() if edit == "upper" else f"{name}_v2"] = values
    types = {name: dtype for name, dtype in TYPES.items() if name not in names or edit != "text"}
    table = table_of(edited, types)
    harmless = (
        {"item_id", "city", "request_id", "user_id", "tags", "history"} if edit == "text" else set()
    )
    wrong = [name for name in names if name not in harmless]
    if not wrong:
        Reader(open_log(table), schema)
        return
    with pytest.raises(DataError) as caught:
        Reader(open_log(table), schema)
    assert caught.value.exit_code == 3
    for name in wrong:
        assert f"column {name!r}" in str(caught.value)


MEMORY = """
import resource, sys
import pyarrow as pa
pa.set_cpu_count(1)
from polyrank.data.reader import Reader
from polyrank.data.source import open_log
from tests.data.test_reader import memory_schema
for path in sys.argv[1:]:
    rows = sum(table.num_rows for table in Reader(open_log(path), memory_schema()).chunks())
    print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def memory_schema() -> Schema:
    return Schema(
        features=(
            *(Categorical(name=f"c{k}") for k in range(4)),
            *(Numeric(name=f"n{k}") for k in range(4)),
            Categorical(name="text"),
        ),
        tasks=(Binary(name="click"), Duration(name="watch")),
    )


def write_large(path: Path, num_rows: int) -> Path:
    """The same 100,000 rows again and again."""
    rng = np.random.default_rng(0)
    size = 100_000
    table = pa.table(
        {
            **{f"c{k}": rng.integers(0, 10_000, size) for k in range(4)},
            **{f"n{k}": rng.normal(size=size) for k in range(4)},
            "text": pa.array([f"t{k}" for k in range(1000)]).take(rng.integers(0, 1000, size)),
            "click": (rng.random(size) < 0.3).astype(np.int8),
            "watch": rng.exponential(10.0, size),
        }
    )
    with pq.ParquetWriter(path, table.schema, write_page_checksum=True) as writer:
        for _ in range(num_rows // size):
            writer.write_table(table)
    return path


def growth(folder: Path, few: int, many: int) -> float:
    """Peak memory after reading many rows over that after reading few, in one process."""
    paths = [write_large(folder / f"{rows}.parquet", rows) for rows in (few, many)]
    child = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (rows_few, peak_few), (rows_many, peak_many) = (
        map(int, line.split()) for line in child.stdout.splitlines()
    )
    assert (rows_few, rows_many) == (few, many)
    return peak_many / peak_few


def test_ten_times_the_rows_take_no_more_memory(tmp_path: Path) -> None:
    assert growth(tmp_path, 200_000, 2_000_000) < 1.1


@pytest.mark.nightly
def test_a_hundred_times_the_rows_take_no_more_memory(tmp_path: Path) -> None:
    assert growth(tmp_path, 200_000, 20_000_000) < 1.1


def test_values_that_stand_for_missing_are_null() -> None:
    schema = Schema(
        features=(
            Categorical(name="city", missing_values=("unknown", -1)),
            Categorical(name="shop", missing_values=(-1, 0.5)),
            Bag(name="tags", separator=",", missing_values=("none",)),
            Numeric(name="age", missing_values=(-124, "unknown")),
        ),
        tasks=(Duration(name="stay", missing_values=(-1,)),),
    )
    log = pa.table(
        {
            "city": ["Oslo", "unknown", "-1"],
            "shop": [7, -1, 0],
            "tags": ["a,none", "none", None],
            "age": [30, -124, None],
            "stay": [1.5, -1.0, None],
        }
    )
    assert read(log, schema).to_pydict() == {
        "city": ["Oslo", None, None],
        "shop": [7, None, 0],
        "tags": [["a", None], [None], None],
        "age": [30.0, None, None],
        "stay": [1.5, None, None],
    }


@pytest.mark.parametrize(
    ("items", "tokens", "bad"),
    [
        ([1, 2, 3], ["1 2", "x 2", "3 007"], [1, 2]),
        (["a", "b", "c"], ["a b", "x", ""], []),
    ],
)
def test_text_is_split_into_ids_of_the_kind_it_shares(
    items: list[Any], tokens: list[str], bad: list[int]
) -> None:
    features = (Categorical(name="item"), Watched(name="seen", shares="item", separator=" "))
    schema = Schema(features=features, tasks=(Binary(name="click"),))
    log = pa.table({"item": items, "seen": tokens, "click": [0, 1, 0]})
    table = read(log, schema, quarantine=Quarantine(max_share=1.0))
    kind = type(items[0])
    kept = [row for row in range(3) if row not in bad]
    assert table.column("seen").to_pylist() == [
        [kind(token) for token in tokens[row].split()] for row in kept
    ]
    if bad:
        with pytest.raises(DataError, match="every id of the list is a whole number"):
            read(log, schema)


def test_a_time_beyond_the_common_unit_is_a_fault() -> None:
    schema = Schema(
        features=(Numeric(name="x"),), tasks=(Binary(name="click"),), keys=Keys(time="t")
    )
    far = pa.array([2**60, 5], pa.timestamp("s"))
    near = pa.array([7, 8], pa.timestamp("ns"))
    logs = [pa.table({"x": [1, 2], "click": [0, 1], "t": times}) for times in (far, near)]
    with pytest.raises(DataError, match="lies beyond what timestamp"):
        read(logs, schema)


def test_lists_of_text_that_is_not_utf8_are_set_aside(tmp_path: Path) -> None:
    raw = pa.array([[b"ok"], [b"\xff"]]).cast(pa.list_(pa.binary()))
    tags = pa.ListArray.from_arrays(raw.offsets, raw.values.view(pa.string()))
    log = pa.table({"tags": tags, "click": [0, 1]})
    schema = Schema(features=(Bag(name="tags"),), tasks=(Binary(name="click"),))
    path = tmp_path / "quarantine.parquet"
    table = read(log, schema, quarantine=Quarantine(path, max_share=1.0))
    assert table.column("tags").to_pylist() == [["ok"]]
    (row,) = pq.read_table(path).to_pylist()
    assert row["quarantine_value"] == "'(text that is not UTF-8)'"
    assert row["tags"] is None


def test_types_without_a_wider_one_are_told_as_text() -> None:
    logs = [pa.table({"x": [[1]]}), pa.table({"x": ["a"]})]
    assert open_log(logs).schema().field("x").type == pa.large_string()


def test_a_value_that_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"x": [1.5] * 9, "click": [0] * 9, "w": [1.0] * 9}
    columns["w"][4] = "heavy"
    schema = Schema(
        features=(Numeric(name="x"),), tasks=(Binary(name="click"),), keys=Keys(weight="w")
    )
    with pytest.raises(DataError) as caught:
        read(write_csv(tmp_path / "log.csv", columns), schema)
    (problem,) = caught.value.problems
    assert problem.message.startswith("holds 'heavy': the first rows of the column hold a number")
