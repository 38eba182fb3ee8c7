from __future__ import annotations

import builtins
import random
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from polyrank.data.source import Source, open_log, open_query
from polyrank.errors import ConfigError, DataError
from tests.data.impressions import columns_of, table_of


def read(source: Source, columns: list[str] | None = None) -> pa.Table:
    return pa.concat_tables([chunk.table for chunk in source.chunks(columns)])


TABLE = table_of(columns_of(100))


def as_file(path: Path, **options: Any) -> Path:
    with pa.ipc.new_file(path, TABLE.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(TABLE, max_chunksize=30)
    return path


def as_stream(path: Path) -> Path:
    with pa.ipc.new_stream(path, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=30)
    return path


def test_arrow_files_streams_and_feather_hold_the_same(tmp_path: Path) -> None:
    feather.write_feather(TABLE, str(tmp_path / "log.feather"), compression="zstd")
    paths = [
        as_file(tmp_path / "log.arrow"),
        as_file(tmp_path / "packed.ipc", compression="lz4"),
        as_stream(tmp_path / "stream.arrow"),
        tmp_path / "log.feather",
    ]
    for path in paths:
        source = open_log(path, chunk_rows=7)
        assert source.schema().equals(TABLE.schema)
        assert read(source).equals(TABLE)
        assert read(source, ["click", "age"]).equals(TABLE.select(["click", "age"]))
    assert [open_log(path).parts()[0].num_rows for path in paths] == [100, 100, None, 100]


@pytest.mark.parametrize("data", [b"", b"ARROW1", b"ARROW1\0\0", b"FEA1" + bytes(20), bytes(500)])
def test_what_is_no_arrow_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "log.arrow"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"^log\.arrow: cannot be read as Arrow"):
        open_log(path).parts()


def test_damaged_arrow_never_ends_the_process(tmp_path: Path) -> None:
    clean = as_file(tmp_path / "clean.arrow").read_bytes()
    path = tmp_path / "log.arrow"
    for number in range(150):
        rng = random.Random(number)
        data = bytearray(clean)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])
        messages = []
        try:
            read(open_log(path))
        except DataError as error:
            messages.append(str(error))
        assert all(message.startswith("log.arrow") for message in messages)


@pytest.mark.parametrize(
    "table",
    [
        TABLE,
        TABLE.combine_chunks().to_batches()[0],
        pl.from_arrow(TABLE),
        pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches()),
        TABLE.to_pandas(),
    ],
    ids=["pyarrow", "batch", "polars", "stream", "pandas"],
)
def test_tables_of_every_library(table: Any) -> None:
    source = open_log(table, chunk_rows=13)
    assert {part.origin for part in source.parts()} == {"table"}
    for _ in range(2):  # any number of times, one-shot streams included
        assert read(source, ["click"]).column("click").to_pylist() == columns_of(100)["click"]
    assert [chunk.first_row for chunk in source.chunks()] == list(range(0, 100, 13))


def test_a_list_of_tables_is_one_log() -> None:
    source = open_log([TABLE.slice(0, 60), pl.from_arrow(TABLE.slice(60))])
    assert [part.origin for part in source.parts()] == ["table 0", "table 1"]
    assert [part.num_rows for part in source.parts()] == [60, 40]


def test_what_arrow_cannot_hold_is_refused() -> None:
    with pytest.raises(DataError, match="Arrow cannot hold it"):
        open_log(pd.DataFrame({"x": [1, "a", [2]]}))
    with pytest.raises(ConfigError, match="LazyFrame is no table.*collect"):
        open_log(pl.LazyFrame({"x": [1]}))


def test_the_fingerprint_of_a_table_is_its_content() -> None:
    prints = {
        open_log(table).fingerprint()
        for table in (TABLE, pa.concat_tables([TABLE.slice(0, 33), TABLE.slice(33)]))
    }
    assert len(prints) == 1
    swapped = TABLE.take(pa.array([1, 0, *range(2, 100)]))
    renamed = TABLE.rename_columns([*TABLE.column_names[:-1], "other"])
    others = {open_log(table).fingerprint() for table in (swapped, renamed, TABLE.slice(1))}
    assert len(prints | others) == 4


def test_a_query_streams_what_it_selects(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "log.parquet")
    sql = (
        "SELECT user_id, click, position + 1 AS place FROM 'log.parquet' ORDER BY user_id, time_ms;"
    )
    source = open_query(sql, root=tmp_path, chunk_rows=11)
    expected = TABLE.sort_by([("user_id", "ascending"), ("time_ms", "ascending")])
    assert source.schema().names == ["user_id", "click", "place"]
    assert source.parts()[0].num_rows is None
    table = read(source, ["click", "user_id"])
    assert table.column("click").to_pylist() == expected.column("click").to_pylist()
    assert table.column("user_id").to_pylist() == expected.column("user_id").to_pylist()
    assert max(chunk.table.num_rows for chunk in source.chunks()) <= 11
    assert source.each() == [source]
    assert source.typed({}) is source


def test_the_fingerprint_of_a_query_follows_statement_and_content(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"x": [1, 2]}), path)
    first = open_query("SELECT x FROM 'log.parquet'", root=tmp_path).fingerprint()
    assert open_query("SELECT x FROM 'log.parquet'", root=tmp_path).fingerprint() == first
    other = open_query("SELECT x + 1 AS x FROM 'log.parquet'", root=tmp_path).fingerprint()
    pq.write_table(pa.table({"x": [1, 3]}), path)
    changed = open_query("SELECT x FROM 'log.parquet'", root=tmp_path).fingerprint()
    assert len({first, other, changed}) == 3


@pytest.mark.parametrize(
    "sql",
    ["selec 1", "SELECT x FROM range(3)", "CREATE TABLE t (a int)", "SELECT 1; SELECT 2", ""],
)
def test_a_wrong_statement_is_a_mistake_in_the_configuration(sql: str) -> None:
    with pytest.raises(ConfigError, match="^query: duckdb refuses the query") as caught:
        open_query(sql)
    assert caught.value.exit_code == 2


def test_a_query_over_nothing_or_damage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="^query: duckdb cannot read on"):
        open_query("SELECT * FROM 'nothing.parquet'", root=tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises((DataError, ConfigError), match="^query: duckdb"):
        open_query("SELECT * FROM 'bad.parquet'", root=tmp_path)


def test_a_quoted_column_name_is_one_name() -> None:
    source = open_query('SELECT 1 AS "a""b", 2 AS "select"')
    assert read(source, ['a"b', "select"]).to_pydict() == {'a"b': [1], "select": [2]}


def test_without_duckdb_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return real(name, *rest, **more)

    assert duckdb is not None
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigError, match=r"pip install polyrank\[sql\]"):
        open_query("SELECT 1")


def test_arrow_with_offsets_beyond_its_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.arrow"
    table = pa.table({"x": ["aaa", "bbb"]})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    offsets, lie = (np.array([0, 3, end], "<i4").tobytes() for end in (6, 2**30))
    data = path.read_bytes()
    assert data.count(offsets) == 1
    path.write_bytes(data.replace(offsets, lie))
    with pytest.raises(DataError, match=r"^log\.arrow, after row 0: cannot be read as Arrow"):
        read(open_log(path))
