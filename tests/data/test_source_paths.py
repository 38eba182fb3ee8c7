from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.data.source import Source, open_log
from polyrank.data.sources.files import FileSource
from polyrank.data.sources.parquet import ParquetFormat
from polyrank.errors import ConfigError, DataError


def shard(path: Path, *values: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"x": pa.array(values, pa.int64())}), path)
    return path


def values(source: Source) -> list[int]:
    return [x for chunk in source.chunks() for x in chunk.table.column("x").to_pylist()]


def test_a_folder_gives_its_files_sorted_by_name_without_hidden_ones(tmp_path: Path) -> None:
    for name, value in (("b", 2), ("a", 1), ("c", 3), (".hidden", 8), ("_temporary", 9)):
        shard(tmp_path / f"{name}.parquet", value)
    shard(tmp_path / "deeper" / "d.parquet", 7)
    (tmp_path / "notes.txt").write_text("not a log")
    assert values(open_log(tmp_path)) == [1, 2, 3]


def test_a_glob_is_sorted_and_reaches_into_folders(tmp_path: Path) -> None:
    for name in ("day=2/x", "day=1/x", "day=1/y"):
        shard(tmp_path / f"{name}.parquet", *map(ord, name[-3:]))
    source = open_log("day=*/*.parquet", root=tmp_path)
    assert [part.origin for part in source.parts()] == [
        "day=1/x.parquet",
        "day=1/y.parquet",
        "day=2/x.parquet",
    ]
    assert values(open_log("**/x.parquet", root=tmp_path)) == [*map(ord, "1/x"), *map(ord, "2/x")]


def test_a_list_keeps_its_order(tmp_path: Path) -> None:
    paths = [shard(tmp_path / f"{name}.parquet", value) for name, value in (("b", 2), ("a", 1))]
    assert values(open_log(paths)) == [2, 1]
    assert values(open_log([str(paths[1]), str(paths[0])])) == [1, 2]


def test_relative_paths_start_from_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard(tmp_path / "here" / "x.parquet", 1)
    shard(tmp_path / "x.parquet", 2)
    assert values(open_log("x.parquet", root=tmp_path / "here")) == [1]
    assert values(open_log("../x.parquet", root=tmp_path / "here")) == [2]
    assert values(open_log("../*.parquet", root=tmp_path / "here")) == [2]
    monkeypatch.chdir(tmp_path)
    assert values(open_log("x.parquet")) == [2]
    assert values(open_log("here")) == [1]


def test_a_name_with_glob_marks_that_exists_is_that_file(tmp_path: Path) -> None:
    shard(tmp_path / "log[1].parquet", 5)
    assert values(open_log("log[1].parquet", root=tmp_path)) == [5]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("nothing.parquet", "'nothing.parquet' does not exist"),
        ("nothing*.parquet", "no file matches 'nothing*.parquet'"),
        ("empty", "the folder 'empty' holds no log"),
        ("http://example.org/log.parquet", "is a URL"),
        ("s3://bucket/log.parquet", "is a URL"),
        ("file:///etc/passwd", "is a URL"),
        ("notes.txt", "cannot tell the format of 'notes.txt'"),
        (["a.parquet", "a.csv"], "the log mixes formats: a.parquet and a.csv"),
        (["a.parquet", "./a.parquet"], "'a.parquet' is in the log twice"),
        (["a.parquet", "link.parquet"], "is in the log twice"),
        ([], "the log is an empty list"),
        (7, "a builtins.int is no table"),
        (["a.parquet", 7], "a builtins.str is no table"),
    ],
)
def test_what_is_no_log_is_refused_with_the_cure(
    tmp_path: Path, named: object, message: str
) -> None:
    shard(tmp_path / "a.parquet", 1)
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link.parquet").symlink_to(tmp_path / "a.parquet")
    with pytest.raises(ConfigError) as caught:
        open_log(named, root=tmp_path)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_chunk_rows_is_at_least_one() -> None:
    with pytest.raises(ConfigError, match="`chunk_rows` must be at least 1, got 0"):
        open_log(pa.table({"x": [1]}), chunk_rows=0)


def test_a_source_is_handed_back() -> None:
    source = open_log(pa.table({"x": [1]}))
    assert open_log(source) is source


def test_files_with_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = [shard(tmp_path / folder / "x.parquet", 1) for folder in ("a/p", "b/p")]
    assert [part.origin for part in open_log(paths).parts()] == ["a/p/x.parquet", "b/p/x.parquet"]


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.parquet", 1, 2, 3)
    source = open_log(path, chunk_rows=1)
    chunks = source.chunks()
    next(chunks)
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match=r"x\.parquet: was changed while it was being read"):
        list(chunks)


def test_a_file_that_vanishes_is_refused(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.parquet", 1)
    source = open_log(path)
    path.unlink()
    with pytest.raises(DataError, match=r"x\.parquet"):
        list(source.chunks())


def test_a_file_that_vanishes_before_it_is_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.parquet: cannot be opened"):
        FileSource([tmp_path / "gone.parquet"], ParquetFormat())


def test_every_damaged_file_is_named_at_once(tmp_path: Path) -> None:
    shard(tmp_path / "a.parquet", 1)
    (tmp_path / "b.parquet").write_bytes(b"")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError, match="2 files cannot be read") as caught:
        open_log(tmp_path).parts()
    assert [problem.where for problem in caught.value.problems] == ["b.parquet", "c.parquet"]


def test_the_fingerprint_follows_name_content_and_time_of_change(tmp_path: Path) -> None:
    import os

    path = shard(tmp_path / "x.parquet", 1, 2)
    first = open_log(path).fingerprint()
    assert open_log(path).fingerprint() == first
    os.utime(path, ns=(1, 1))
    touched = open_log(path).fingerprint()
    other = shard(tmp_path / "y.parquet", 1, 2)
    os.utime(other, ns=(1, 1))
    renamed = open_log(other).fingerprint()
    shard(path, 1, 3)
    os.utime(path, ns=(1, 1))
    changed = open_log(path).fingerprint()
    both = open_log([path, other]).fingerprint()
    assert len({first, touched, renamed, changed, both}) == 5


def test_one_source_a_file() -> None:
    table = open_log([pa.table({"x": [1]}), pa.table({"x": [2]})])
    assert [values(each) for each in table.each()] == [[1, 2]]


def test_each_file_keeps_its_name(tmp_path: Path) -> None:
    paths = [shard(tmp_path / f"{k}" / "x.parquet", k) for k in (1, 2)]
    each = open_log(paths).each()
    assert [values(one) for one in each] == [[1], [2]]
    assert [one.parts()[0].origin for one in each] == ["1/x.parquet", "2/x.parquet"]
