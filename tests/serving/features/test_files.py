"""Files of features: replaced while in use, damaged, not there."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.errors import ArtefactError, ConfigError, DataError, StorageError
from polyrank.serving.deadline import Deadline
from polyrank.serving.features import (
    FeatureStore,
    Fetched,
    StoreSettings,
    fill,
    lmdb_file,
    store_settings,
)
from polyrank.serving.features.codec import RowCodec
from polyrank.serving.features.files import FileFormat
from polyrank.serving.features.sqlite_file import SqliteFormat
from tests.serving.features import world
from tests.serving.features.stores import file_settings, filled, opened

KINDS = ("sqlite", "lmdb")


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    return filled(file_settings(request.param, tmp_path / f"features.{request.param}"))


def _path(settings: StoreSettings) -> Path:
    assert settings.kind in KINDS
    return settings.path  # type: ignore[union-attr,return-value]


def _ask(store: FeatureStore, ids: Any = (7, 1, None)) -> Fetched:
    return store.fetch(ids, Deadline.within(30))


def _shifted(by: float) -> tuple[RowCodec, pa.Table]:
    """Items, each of quality ``by``."""
    table = world.tables()["items"]
    place = table.column_names.index("item_quality")
    values = pa.array(np.full(table.num_rows, by))
    return world.codec("items"), table.set_column(place, "item_quality", values)


def _quality(fetched: Fetched) -> list[float | None]:
    found: list[float | None] = fetched.table["item_quality"].to_pylist()
    return found


def test_a_file_filled_anew_is_taken_over_by_whoever_reads(where: StoreSettings) -> None:
    store, other = opened(where, "items"), opened(where, "items")
    for by in (2.0, 3.0, 4.0):
        assert fill(where, {"items": _shifted(by)}) == {"items": len(world.ITEM_IDS)}
        assert _quality(_ask(store)) == [by, None, None]
        assert _quality(_ask(other)) == [by, None, None]
    store.close()
    assert _quality(_ask(other)) == [4.0, None, None]
    other.close()
    assert _ask(other).degraded == "down"


def test_no_answer_is_mixed_of_two_files(where: StoreSettings) -> None:
    store = opened(where, "items")
    fill(where, {"items": _shifted(0.0)})
    seen: set[frozenset[float | None]] = set()
    faults: list[str | None] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found = _ask(store, world.ITEM_IDS)
            faults.extend([found.degraded] if found.degraded else [])
            seen.add(frozenset(_quality(found)))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for by in range(1, 9):
        fill(where, {"items": _shifted(float(by))})
    done.set()
    for thread in threads:
        thread.join()
    store.close()
    assert faults == []
    assert all(len(values) == 1 for values in seen), seen
    assert list(_path(where).parent.iterdir()) == [_path(where)]


def test_a_wrong_file_in_its_place_is_not_taken(where: StoreSettings) -> None:
    store = opened(where, "items")
    before = _quality(_ask(store))
    for content in (b"", b"no such file" * 999, None):
        if content is None:  # a good file, of other columns
            table = pa.table({"item_id": [7], "item_quality": [9.0]})
            _path(where).unlink()  # what is none of its kind is not written over
            fill(where, {"items": (RowCodec("items", "item_id", table.schema), table)})
        else:
            other = _path(where).with_name("other")
            other.write_bytes(content)
            other.replace(_path(where))
        assert _quality(_ask(store)) == before
        assert _ask(store).degraded is None
        with pytest.raises(ArtefactError):
            opened(where, "items")
    _path(where).unlink()
    assert _quality(_ask(store)) == before
    answers: list[list[float | None]] = []
    threads = [
        threading.Thread(target=lambda: answers.extend(_quality(_ask(store)) for _ in range(9)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [before] * 36
    fill(where, {"items": _shifted(5.0)})
    assert _quality(_ask(store)) == [5.0, None, None]
    store.close()


def test_other_columns_are_refused_and_named(where: StoreSettings) -> None:
    table = pa.table({"id": ["7"], "item_quality": [9], "new": [1.0], "item_vector": [[0.5]]})
    fill(where, {"items": (RowCodec("items", "id", table.schema), table)})
    with pytest.raises(ArtefactError) as caught:
        opened(where, "items")
    assert str(caught.value) == (
        f"{_path(where).name}: holds side table 'items' with other columns: lacks "
        "'item_category'; lacks 'item_tags'; lacks 'item_similar'; has 'new', which nothing reads; "
        "'item_vector' is list<double>, not vector<float, 3>; 'item_quality' is int64, not double; "
        "its key is text, not int64. Fill it with `polyrank features load`."
    )
    with pytest.raises(ArtefactError, match="holds no rows of side table 'users'"):
        opened(where, "users")


def test_a_file_that_is_missing_or_cut_short(where: StoreSettings, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"gone\.db: cannot be read as .*: No such file"):
        opened(file_settings(where.kind, tmp_path / "gone.db"), "items")
    content = _path(where).read_bytes()
    for length in (0, 100, 5000, len(content) - 4096):
        _path(where).write_bytes(content[:length])
        with pytest.raises(ArtefactError):
            opened(where, "items")
    _path(where).write_bytes(content)
    opened(where, "items").close()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    for kind in KINDS:
        settings = file_settings(kind, tmp_path / "no such folder" / "file")
        with pytest.raises(StorageError, match="cannot be written"):
            filled(settings)


def test_a_row_damaged_on_disk_is_no_answer(tmp_path: Path) -> None:
    where = filled(file_settings("sqlite", tmp_path / "a.sqlite", failures=2))
    with sqlite3.connect(_path(where)) as connection:
        connection.execute("UPDATE \"rows items\" SET row = 'cut' WHERE key = CAST('7' AS BLOB)")
    connection.close()
    store = opened(where, "items")
    assert _ask(store, [10]).degraded is None
    found = _ask(store, [10, 7])
    assert (found.degraded, found.known_N.tolist()) == ("wrong", [False, False])
    assert found.table.equals(world.codec("items").nothing(2))
    _ask(store, [7])
    assert _ask(store, [10]).degraded == "open"
    assert store.counts.as_dict() == {
        "calls": 4,
        "hits": 1,
        "unknown": 0,
        "degraded": 3,
        "failures": 2,
        "timeouts": 0,
        "skipped": 1,
    }
    store.close()


def test_a_file_damaged_while_open_is_a_failure_and_no_crash(tmp_path: Path) -> None:
    where = filled(file_settings("sqlite", tmp_path / "a.sqlite"))
    store = opened(where, "items")
    size = _path(where).stat().st_size
    status = _path(where).stat()
    _path(where).write_bytes(b"\xff" * size)
    os.utime(_path(where), ns=(status.st_atime_ns, status.st_mtime_ns))  # as a failing disk would
    found = _ask(store)
    assert found.degraded == "down"
    assert not found.known_N.any()
    store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_is_interrupted_at_the_deadline(kind: str, tmp_path: Path) -> None:
    where = filled(file_settings(kind, tmp_path / f"a.{kind}", timeout_ms=1))
    store = opened(where, "items")
    found = _ask(store, list(range(1000, 31_000)))
    assert found.degraded == "timeout"
    assert store.counts.timeouts == 1
    store.close()


def test_a_request_without_time_asks_nothing_and_blames_nobody(where: StoreSettings) -> None:
    store = opened(where, "items")
    for _ in range(9):
        found = store.fetch([7, 10], Deadline.within(0))
        assert found.degraded == "deadline"
        assert found.table.equals(world.codec("items").nothing(2))
    assert store.describe() == {"kind": where.kind, "breaker": "closed"}
    assert store.counts.skipped == 9
    assert _ask(store, [7]).degraded is None
    store.close()


def test_a_table_in_memory_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    kept = world.tables()["items"]
    items = kept.rename_columns([name.replace("item_", "") for name in kept.column_names])
    items = items.rename_columns(["item_id", *items.column_names[1:]])
    place = items.column_names.index("category")
    shuffled = items.select(items.column_names[::-1])
    pq.write_table(shuffled, path)
    store = opened(store_settings(str(path)), "items")
    assert world.same(_ask(store, world.ITEM_IDS).table, world.expected("items", world.ITEM_IDS))
    assert store.describe() == {"kind": "memory", "rows": len(world.ITEM_IDS)}
    empty = items.set_column(place, "category", pa.nulls(items.num_rows))
    pq.write_table(empty, path)
    found = _ask(opened(store_settings(str(path)), "items"), [7]).table
    assert found["item_category"].to_pylist() == [None]
    assert found.schema.equals(world.codec("items").schema)
    pq.write_table(items.drop_columns(["tags"]), path)
    with pytest.raises(ArtefactError, match=r"items\.parquet: .*lacks 'item_tags'"):
        opened(store_settings(str(path)), "items")
    pq.write_table(pa.concat_tables([items, items]), path)
    with pytest.raises(DataError, match="more than once"):
        opened(store_settings(str(path)), "items")


def test_lmdb_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_file, "_FIRST_SIZE", 1 << 16)
    monkeypatch.setattr(lmdb_file, "_BATCH", 100)
    number = 2000
    table = pa.table({"item_id": range(number), "a": ["x" * 100] * number})
    codec = RowCodec("items", "item_id", table.schema)
    where = file_settings("lmdb", tmp_path / "a.lmdb")
    fill(where, {"items": (codec, table)})
    rows = dict(codec.encode(table))
    reader, _ = lmdb_file.LmdbFormat().open(_path(where), "items")
    assert reader.get(list(rows), Deadline.never()) == list(rows.values())
    reader.close()


@pytest.mark.parametrize("header", ["no json", "[]", '{"format":2}'])
def test_a_header_of_something_else(where: StoreSettings, header: str) -> None:
    formats: dict[str, FileFormat] = {"sqlite": SqliteFormat(), "lmdb": lmdb_file.LmdbFormat()}
    formats[where.kind].write(_path(where).with_name("b"), [("items", header, [])])
    with pytest.raises(ArtefactError, match=r"side table 'items'|in a format that is not known"):
        opened(file_settings(where.kind, _path(where).with_name("b")), "items")


def test_nothing_fills_memory() -> None:
    with pytest.raises(ConfigError, match="filled when the server starts"):
        filled(store_settings("memory"))
