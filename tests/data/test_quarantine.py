from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.data import quarantine as module
from polyrank.data.quarantine import Quarantine
from polyrank.data.reader import Reader
from polyrank.data.source import open_log
from polyrank.errors import ConfigError, DataError, StorageError
from polyrank.schema import Bag, Binary, Categorical, Keys, Numeric, Schema

SCHEMA = Schema(
    features=(Numeric(name="age"), Categorical(name="item"), Bag(name="tags", separator="|")),
    tasks=(Binary(name="click"),),
    keys=Keys(weight="weight"),
)


def log_of(num_rows: int, bad: dict[int, tuple[str, float]]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "age": [float(row) for row in range(num_rows)],
        "item": [f"i{row}" for row in range(num_rows)],
        "tags": ["a|b"] * num_rows,
        "click": [0.0] * num_rows,
        "weight": [1.0] * num_rows,
        "unread": [0] * num_rows,
    }
    for row, (column, value) in bad.items():
        columns[column][row] = value
    return pa.table(columns)


def test_the_file_says_where_what_and_why(tmp_path: Path) -> None:
    path = tmp_path / "run" / "quarantine.parquet"
    log = log_of(10, {3: ("click", 2.0), 7: ("age", float("inf"))})
    reader = Reader(open_log(log, chunk_rows=4), SCHEMA, quarantine=Quarantine(path, max_share=0.2))
    assert sum(table.num_rows for table in reader.chunks(account="validation")) == 8
    table = pq.read_table(path)
    rows = table.to_pylist()
    assert [(row["quarantine_row"], row["quarantine_column"]) for row in rows] == [
        (3, "click"),
        (7, "age"),
    ]
    assert [row["quarantine_value"] for row in rows] == ["2.0", "inf"]
    assert {(row["quarantine_part"], row["quarantine_file"]) for row in rows} == {
        ("validation", "table")
    }
    assert "a binary label is 0 or 1" in rows[0]["quarantine_rule"]
    # The rows themselves, as the log has them, so that they can be mended and fed back.
    again = table.select([name for name in log.column_names if name in table.column_names])
    assert again.to_pylist() == [
        {name: log.column(name)[row].as_py() for name in again.column_names} for row in (3, 7)
    ]


def test_a_row_with_several_faults_stands_there_once(tmp_path: Path) -> None:
    log = log_of(10, {3: ("click", 2.0)})
    log = log.set_column(4, "weight", [[1.0, 1.0, 1.0, -1.0, *[1.0] * 6]])
    path = tmp_path / "quarantine.parquet"
    reader = Reader(open_log(log), SCHEMA, quarantine=Quarantine(path, max_share=1.0))
    list(reader.chunks())
    (row,) = pq.read_table(path).to_pylist()
    assert row["quarantine_column"] == "click"
    assert "column 'weight': a weight is at least 0" in row["quarantine_rule"]
    assert reader.ledger.quarantined == 1


def test_the_file_is_written_when_the_log_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.parquet"
    log = log_of(100, dict.fromkeys(range(0, 100, 10), ("click", 2.0)))
    reader = Reader(open_log(log, chunk_rows=7), SCHEMA, quarantine=Quarantine(path))
    with pytest.raises(DataError, match=r"10 of 100 rows \(10.00%\) are refused, and 0.00% may be"):
        list(reader.chunks())
    assert pq.read_table(path).column("quarantine_row").to_pylist() == list(range(0, 100, 10))
    assert reader.ledger.parts["all"].quarantined == 10


@pytest.mark.parametrize(
    ("share", "accepted"), [(0.0, False), (0.09, False), (0.1, True), (1.0, True)]
)
def test_the_share_decides(share: float, accepted: bool) -> None:
    log = log_of(100, dict.fromkeys(range(90, 100), ("click", 2.0)))
    reader = Reader(open_log(log, chunk_rows=7), SCHEMA, quarantine=Quarantine(max_share=share))
    tables: list[pa.Table] = []
    try:
        tables.extend(reader.chunks())
        refused = False
    except DataError as error:
        refused = True
        message = str(error)
    assert refused != accepted
    if refused:
        assert "set data.max_quarantine_share to at least 0.1 to set them aside" in message
    else:
        assert sum(table.num_rows for table in tables) == 90


def test_once_refusal_is_certain_no_more_rows_come() -> None:
    log = log_of(100, {5: ("click", 2.0), 6: ("click", 2.0), 80: ("age", float("inf"))})
    for share, rows in ((0.0, 0), (0.02, 79)):
        seen = 0
        reader = Reader(open_log(log, chunk_rows=9), SCHEMA, quarantine=Quarantine(max_share=share))
        with pytest.raises(DataError, match="3 of 100 rows") as caught:  # noqa: PT012
            for table in reader.chunks():
                seen += table.num_rows
        assert seen <= rows
        assert len(caught.value.problems) == 2  # all kinds of fault, the late one among them


def test_reading_again_replaces_and_other_parts_stay(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.parquet"
    quarantine = Quarantine(path, max_share=1.0)
    bad, good = log_of(10, {1: ("click", 2.0)}), log_of(10, {})

    def read(log: pa.Table, account: str) -> None:
        list(Reader(open_log(log), SCHEMA, quarantine=quarantine).chunks(account=account))

    def held() -> list[str]:
        if not path.exists():
            return []
        return sorted(pq.read_table(path).column("quarantine_part").to_pylist())

    read(bad, "train")
    read(bad, "train")
    assert held() == ["train"]
    read(bad, "validation")
    assert held() == ["train", "validation"]
    read(good, "train")
    assert held() == ["validation"]
    read(good, "validation")
    assert held() == []
    assert list(tmp_path.iterdir()) == []


def test_a_pass_that_is_left_early_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.parquet"
    log = log_of(10, {1: ("click", 2.0)})
    reader = Reader(open_log(log, chunk_rows=4), SCHEMA, quarantine=Quarantine(path, max_share=1.0))
    chunks = reader.chunks()
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []
    assert reader.ledger.parts == {}


def test_many_rows_are_flushed_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FLUSH_ROWS", 10)
    path = tmp_path / "quarantine.parquet"
    log = log_of(500, dict.fromkeys(range(500), ("click", 2.0)))
    quarantine = Quarantine(path, max_share=1.0)
    list(Reader(open_log(log, chunk_rows=7), SCHEMA, quarantine=quarantine).chunks())
    assert pq.read_table(path).column("quarantine_row").to_pylist() == list(range(500))
    list(Reader(open_log(log), SCHEMA, quarantine=quarantine).chunks(account="other"))
    assert pq.read_table(path).num_rows == 1000


def test_of_a_refused_log_only_so_many_rows_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polyrank.data import passes

    monkeypatch.setattr(passes, "MAX_REFUSED_ROWS", 20)
    path = tmp_path / "quarantine.parquet"
    log = log_of(100, dict.fromkeys(range(100), ("click", 2.0)))
    reader = Reader(open_log(log, chunk_rows=10), SCHEMA, quarantine=Quarantine(path))
    with pytest.raises(DataError, match="100 of 100 rows"):
        list(reader.chunks())
    assert pq.read_table(path).num_rows == 20


def test_an_old_file_of_another_log_gives_way(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.parquet"
    for content in (b"no parquet", b""):
        path.write_bytes(content)
        log = log_of(10, {1: ("click", 2.0)})
        list(Reader(open_log(log), SCHEMA, quarantine=Quarantine(path, max_share=1.0)).chunks())
        assert pq.read_table(path).num_rows == 1
    pq.write_table(pa.table({"x": [1]}), path)
    log = log_of(10, {1: ("click", 2.0)})
    list(Reader(open_log(log), SCHEMA, quarantine=Quarantine(path, max_share=1.0)).chunks())
    assert pq.read_table(path).num_rows == 1


def test_text_that_is_not_utf8_is_set_aside_readable(tmp_path: Path) -> None:
    raw = pa.array([b"ok", b"\xff\xfe", b"fine"], pa.large_binary()).view(pa.large_string())
    lists = pa.array([b"a|b", b"\xff|b", None], pa.large_binary()).view(pa.large_string())
    log = pa.table(
        {"age": [1.0] * 3, "item": raw, "tags": lists, "click": [0.0] * 3, "weight": [1.0] * 3}
    )
    path = tmp_path / "quarantine.parquet"
    reader = Reader(open_log(log), SCHEMA, quarantine=Quarantine(path, max_share=1.0))
    (table,) = reader.chunks()
    assert table.column("item").to_pylist() == ["ok", "fine"]
    (row,) = pq.read_table(path).to_pylist()
    assert row["item"] == "��"
    assert "text is UTF-8" in row["quarantine_rule"]


def test_a_disk_that_refuses_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "quarantine.parquet"
    log = log_of(10, {1: ("click", 2.0)})
    reader = Reader(open_log(log), SCHEMA, quarantine=Quarantine(path, max_share=1.0))
    with pytest.raises(StorageError, match="cannot write the quarantine") as caught:
        list(reader.chunks())
    assert caught.value.exit_code == 6


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a device that is full")
def test_a_full_disk_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module.QuarantinePass, "_temporary", property(lambda self: Path("/dev/full"))
    )
    log = log_of(10, {1: ("click", 2.0)})
    quarantine = Quarantine(tmp_path / "quarantine.parquet", max_share=1.0)
    with pytest.raises(StorageError, match="ENOSPC"):
        list(Reader(open_log(log), SCHEMA, quarantine=quarantine).chunks())


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ConfigError, match=r"`max_share` must lie in \[0, 1\]"):
        Quarantine(max_share=share)


def test_a_pass_left_after_rows_were_written_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FLUSH_ROWS", 1)
    log = log_of(10, {1: ("click", 2.0)})
    quarantine = Quarantine(tmp_path / "quarantine.parquet", max_share=1.0)
    chunks = Reader(open_log(log, chunk_rows=4), SCHEMA, quarantine=quarantine).chunks()
    next(chunks)
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    chunks.close()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_where_only_reading_tells_the_number_of_rows_none_come_after_a_fault(
    tmp_path: Path,
) -> None:
    rows = [f"{row},{2 if row == 10 else 0}\n" for row in range(100)]
    (tmp_path / "log.csv").write_text("age,click\n" + "".join(rows))
    schema = Schema(features=(Numeric(name="age"),), tasks=(Binary(name="click"),))
    source = open_log(tmp_path / "log.csv", chunk_rows=8)
    for share, seen_at_most in ((0.0, 10), (0.005, 99)):
        seen = 0
        reader = Reader(source, schema, quarantine=Quarantine(max_share=share))
        with pytest.raises(DataError, match="1 of 100 rows"):  # noqa: PT012
            for table in reader.chunks():
                seen += table.num_rows
        assert 0 < seen <= seen_at_most
