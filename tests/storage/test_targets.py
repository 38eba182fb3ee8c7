"""What lies at a path is written over only by its like, whatever its name says."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import get_args

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.errors import ConfigError
from polyrank.pages import Page, Prose, Section, write_page
from polyrank.storage import commit_directory, jsonio
from polyrank.storage.targets import FileKind, check_file, check_folder, check_target
from tests.storage.samples import FILES, commit, contents, flip, listing, reopen

KINDS = ("bundle", "export", "checkpoint", "note")


@pytest.mark.parametrize("kind", KINDS)
def test_an_artefact_is_replaced_by_its_kind_alone(tmp_path: Path, kind: str) -> None:
    for there in KINDS:
        path = commit(tmp_path / there, {"a": b"old"}, kind=there)
        if there == kind:
            commit(path, {"a": b"new"}, kind=kind, replace=True)
            assert (path / "a").read_bytes() == b"new"
            continue
        before = {each.name: each.read_bytes() for each in path.iterdir()}
        told = rf"{there}: is to be replaced by an artefact of kind '{kind}' and is one of kind"
        with pytest.raises(ConfigError, match=rf"{told} '{there}'.*Choose another path"):
            commit(path, {"a": b"new"}, kind=kind, replace=True)
        assert {each.name: each.read_bytes() for each in path.iterdir()} == before
    assert listing(tmp_path) == set(KINDS)


def test_one_damaged_byte_hides_no_kind(tmp_path: Path) -> None:
    """Wherever it lies in the manifest: its own kind may replace it, and no other."""
    path = commit(tmp_path / "note")
    manifest = path / "MANIFEST.json"
    for position in range(manifest.stat().st_size):
        flip(manifest, position, position % 8)
        check_target(path, kind="note", replace=True)
        with pytest.raises(ConfigError, match="is to be replaced"):
            check_target(path, kind="export", replace=True)
        flip(manifest, position, position % 8)
    assert contents(reopen(path)) == FILES


@pytest.mark.parametrize("content", [b"", b"{", b'{"kind": "note"}', b"Manifest-Version: 1.0\n"])
def test_a_folder_with_a_manifest_of_others_is_no_artefact(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "MANIFEST.json").write_bytes(content)
    with pytest.raises(ConfigError, match="is not an artefact"):
        commit(tmp_path / "site", replace=True)
    (tmp_path / "site" / "MANIFEST.json").unlink()
    os.mkfifo(tmp_path / "site" / "MANIFEST.json")
    with pytest.raises(ConfigError, match="is not an artefact"):
        commit(tmp_path / "site", replace=True)


def _sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE a (b)")


def _lmdb(path: Path) -> None:
    lmdb.open(str(path), subdir=False, lock=False).close()


def _page(path: Path) -> None:
    sections = [Section("a", blocks=[Prose("b")])]
    write_page(Page(title="a", verdict="b", sections=sections, kind="c"), path)


MADE: dict[str, Callable[[Path], object]] = {
    "Parquet": lambda path: pq.write_table(pa.table({"a": [1]}), path),
    "YAML": lambda path: path.write_text("# of ours\n\n---\ndata:\n  log: log.parquet\n"),
    "JSON": lambda path: path.write_bytes(jsonio.dumps({"a": 1})),
    "HTML": _page,
    "PNG": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"),
    "SQLite": _sqlite,
    "LMDB": _lmdb,
}
OTHERS: dict[str, Callable[[Path], object]] = {
    "a program": lambda path: path.write_text("import os\n"),
    "a list": lambda path: path.write_text("a,b\n1,2\n"),
    "words": lambda path: path.write_text("# Thesis\n\nNobody has a copy: so it is.\n"),
}


def test_every_kind_of_file_is_known() -> None:
    assert set(MADE) == set(get_args(FileKind))


@pytest.mark.parametrize("kind", get_args(FileKind))
def test_a_file_is_replaced_by_its_kind_alone(tmp_path: Path, kind: FileKind) -> None:
    check_file(tmp_path / "none", kind=kind, replace=False)
    (tmp_path / "empty").touch()
    check_file(tmp_path / "empty", kind=kind, replace=True)
    for there, make in {**MADE, **OTHERS}.items():
        path = tmp_path / there
        make(path)
        with pytest.raises(ConfigError, match=rf"{there}: already exists"):
            check_file(path, kind=kind, replace=False)
        if there == kind:
            check_file(path, kind=kind, replace=True)
            continue
        with pytest.raises(ConfigError, match=f"by one of {kind} and is none by its content"):
            check_file(path, kind=kind, replace=True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("folder", "dangling"):
        with pytest.raises(ConfigError, match="and is no file"):
            check_file(tmp_path / name, kind=kind, replace=True)


def test_a_folder_of_known_files_is_replaced_and_no_other(tmp_path: Path) -> None:
    def check(replace: bool = True) -> None:
        check_folder(tmp_path / "x", ("a", "b"), what="a compiled package", replace=replace)

    check()
    (tmp_path / "x").mkdir()
    check()
    for name in ("a", "b"):
        with pytest.raises(ConfigError, match="already exists"):
            check(replace=False)
        (tmp_path / "x" / name).touch()
        if name == "a":
            with pytest.raises(ConfigError, match="by a folder with a compiled package and is an"):
                check()
    check()
    (tmp_path / "x" / "c").touch()
    with pytest.raises(ConfigError, match="is another one"):
        check()
    commit_directory(tmp_path / "note", FILES, kind="note", format_version=1)
    (tmp_path / "link").symlink_to(tmp_path / "x")
    for other in ("note", "link"):
        with pytest.raises(ConfigError, match="is to be replaced"):
            check_folder(tmp_path / other, ("a",), what="a compiled package", replace=True)
