"""What a commit leaves behind: all of it, or what was there before."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from pathlib import Path

import pytest

import polyrank
from polyrank.errors import ArtefactError, ConfigError, StorageError
from polyrank.storage import commit_directory, open_committed
from polyrank.storage.disk import RealDisk
from tests.storage.samples import (
    FILES,
    commit,
    contents,
    flip,
    listing,
    open_descriptors,
    reopen,
    writer_of,
)


def test_what_was_committed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deeper" / "note"
    written = commit_directory(
        path,
        {**FILES, "late.bin": writer_of(b"by a function" * 1000)},
        kind="note",
        format_version=3,
        extra={"seed": 7, "nested": {"a": [1, None]}},
    )
    with open_committed(path, kind="note", supported_versions={2, 3}) as found:
        assert contents(found) == {**FILES, "late.bin": b"by a function" * 1000}
        assert found.names == tuple(sorted([*FILES, "late.bin"]))
        assert found.json("state/cursor.json") == [1, 2, 3]
        assert found.manifest == written
        assert found.path == path
    assert written.extra == {"seed": 7, "nested": {"a": [1, None]}}
    assert (written.kind, written.format_version) == ("note", 3)
    assert written.polyrank_version == polyrank.__version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", written.created_at)
    assert listing(path.parent) == {"note"}


def reopen_3(path: Path):  # type: ignore[no-untyped-def]
    from polyrank.storage import open_committed

    return open_committed(path, kind="note", supported_versions={2, 3})


def test_the_manifest_on_disk_says_what_is_there(tmp_path: Path) -> None:
    path = commit(tmp_path / "note")
    fields = json.loads((path / "MANIFEST.json").read_bytes())
    assert set(fields) == {
        "kind", "format_version", "created_at", "polyrank_version", "files", "extra", "seal",
    }  # fmt: skip
    assert fields["files"] == {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in FILES.items()
    }
    on_disk = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
    assert on_disk == {*FILES, "MANIFEST.json"}


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = commit(tmp_path / "note")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert stat.S_IMODE((path / "card.json").stat().st_mode) == 0o640


def test_an_existing_target_is_refused_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    path = commit(tmp_path / "note", {"a": b"old"})
    with pytest.raises(ConfigError, match="note: already exists"):
        commit(path, {"a": b"new"})
    assert contents(reopen(path)) == {"a": b"old"}
    commit(path, {"b": b"new"}, replace=True)
    assert contents(reopen(path)) == {"b": b"new"}
    assert listing(tmp_path) == {"note"}


def test_replacing_what_is_not_there_is_a_plain_commit(tmp_path: Path) -> None:
    assert contents(reopen(commit(tmp_path / "note", replace=True))) == FILES


def test_a_damaged_artefact_and_an_empty_directory_can_be_replaced(tmp_path: Path) -> None:
    path = commit(tmp_path / "note")
    (path / "card.json").unlink()
    flip(path / "MANIFEST.json", 5, 0)
    assert contents(reopen(commit(path, replace=True))) == FILES
    (tmp_path / "empty").mkdir()
    assert contents(reopen(commit(tmp_path / "empty", replace=True))) == FILES


@pytest.mark.parametrize("what", ["file", "home", "link", "dangling"])
def test_what_is_not_an_artefact_is_never_replaced(tmp_path: Path, what: str) -> None:
    target = tmp_path / "target"
    if what == "file":
        target.write_text("mine")
    elif what == "home":
        target.mkdir()
        (target / "thesis.tex").write_text("mine")
    else:
        target.symlink_to(commit(tmp_path / "other") if what == "link" else tmp_path / "nowhere")
    before = listing(tmp_path)
    with pytest.raises(ConfigError, match="target: is to be replaced but is not an artefact"):
        commit(target, replace=True)
    assert listing(tmp_path) == before
    if what == "home":
        assert (target / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("path", [Path("/"), Path("a/..")])
def test_a_path_without_a_name_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="does not end in a name"):
        commit(path)


BAD_NAMES = [
    "", ".", "..", ".hidden", "a/.hidden", "/etc/passwd", "../up", "a/../b", "a//b", "a/", "/a",
    "a b", "a\nb", "a\0b", "a\\b", "C:\\x", "a:b", "a%2fb", "%2e%2e/x", "a*", "a?", "~", "$HOME",
    "é", "а", "a\u202eb", "\udc80", "x" * 65, "/".join("abcdefghi"), "MANIFEST.json",
    "manifest.JSON", "MANIFEST.json/a",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_file_name_that_breaks_the_rule_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtefactError, match="note: file name"):
        commit(tmp_path / "note", {"fine": b"", name: b""})
    assert listing(tmp_path) == set()


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["Weights", "weights"], "differ only in case"),
        (["a/x", "A/y"], "differ only in case"),
        (["a", "A/y"], "differ only in case"),
        (["a", "a/b"], "both a file and a folder"),
        ([f"f{number}" for number in range(257)], "257 files, at most 256"),
    ],
)
def test_names_that_clash_are_refused(tmp_path: Path, names: list[str], reason: str) -> None:
    with pytest.raises(ArtefactError, match=reason):
        commit(tmp_path / "note", dict.fromkeys(names, b""))
    assert listing(tmp_path) == set()


def test_as_many_files_and_folders_as_allowed(tmp_path: Path) -> None:
    files = {f"f{number}": b"" for number in range(255)} | {"/".join("abcdefgh"): b"deep"}
    assert contents(reopen(commit(tmp_path / "note", files))) == files
    assert contents(reopen(commit(tmp_path / "none", {}))) == {}


@pytest.mark.parametrize("extra", [{"auc": float("nan")}, {"a": {1: 2}}, {"a": "x" * (4 << 20)}])
def test_extra_that_no_reader_would_accept_is_refused(tmp_path: Path, extra: object) -> None:
    def too_early(path: Path) -> None:
        raise AssertionError("nothing is written before what can be checked is checked")

    with pytest.raises(ArtefactError):
        commit(tmp_path / "note", {"a": too_early}, extra=extra)
    assert listing(tmp_path) == set()


@pytest.mark.parametrize("as_function", [False, True])
def test_a_pickle_is_not_written(tmp_path: Path, as_function: bool) -> None:
    content = b"\x80\x04\x95\x0b\0\0\0\0\0\0\0"
    source = writer_of(content) if as_function else content
    with pytest.raises(ArtefactError, match=r"w\.bin: this is a pickle"):
        commit(tmp_path / "note", {"w.bin": source})
    assert listing(tmp_path) == set()


class _Interrupt(BaseException):
    pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, _Interrupt])
def test_whatever_stops_a_writer_nothing_is_left(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def stop(path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    before = open_descriptors(tmp_path)
    with pytest.raises(error):
        commit(tmp_path / "note", {"a": b"1", "b": stop})
    assert listing(tmp_path) == set()
    assert open_descriptors(tmp_path) == before


def test_a_writer_that_writes_nothing_or_a_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="a: the file is missing"):
        commit(tmp_path / "note", {"a": lambda path: None})
    with pytest.raises(ArtefactError, match="a: this is not a regular file"):
        commit(tmp_path / "note", {"a": lambda path: path.symlink_to("/etc/hostname")})
    assert listing(tmp_path) == set()


def test_an_error_of_a_writer_names_the_file_and_the_cure(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "whatever")

    with pytest.raises(StorageError) as caught:
        commit(tmp_path / "note", {"w.bin": full})
    assert caught.value.exit_code == 6
    assert str(caught.value) == (
        "note: cannot write 'w.bin': No space left on device (ENOSPC). "
        "Free space on this disk or choose another directory, then start again."
    )
    assert str(tmp_path) not in str(caught.value)


def test_an_error_without_a_number_is_told_in_its_own_words(tmp_path: Path) -> None:
    def odd(path: Path) -> None:
        raise OSError("the tape is torn")

    with pytest.raises(StorageError, match=r"the tape is torn \(unknown\)"):
        commit(tmp_path / "note", {"w.bin": odd})


class _NoExchange(RealDisk):
    """A file system that cannot swap two names in one step."""

    def exchange(self, first: Path, second: Path) -> bool:
        return False


class _Failing(_NoExchange):
    """Fails the rename to one name."""

    def __init__(self, name: str, times: int = 1) -> None:
        self.name = name
        self.times = times

    def rename(self, source: Path, target: Path) -> None:
        if target.name == self.name and self.times:
            self.times -= 1
            raise OSError(errno.EIO, "planted")
        super().rename(source, target)


def test_replacing_without_exchange(tmp_path: Path) -> None:
    path = commit(tmp_path / "note", {"a": b"old"})
    commit(path, {"a": b"new"}, replace=True, disk=_NoExchange())
    assert contents(reopen(path)) == {"a": b"new"}
    assert listing(tmp_path) == {"note"}


def test_a_failed_swap_is_undone(tmp_path: Path) -> None:
    path = commit(tmp_path / "note", {"a": b"old"})
    with pytest.raises(StorageError, match="EIO"):
        commit(path, {"a": b"new"}, replace=True, disk=_Failing("note"))
    assert contents(reopen(path)) == {"a": b"old"}
    assert listing(tmp_path) == {"note"}


def test_a_swap_that_cannot_be_undone_is_recovered_by_reader_and_writer(tmp_path: Path) -> None:
    path = commit(tmp_path / "note", {"a": b"old"})
    with pytest.raises(StorageError, match="EIO"):
        commit(path, {"a": b"new"}, replace=True, disk=_Failing("note", times=2))
    assert listing(tmp_path) == {".replaced-note"}
    assert contents(reopen(path)) == {"a": b"old"}
    with pytest.raises(ConfigError, match="already exists"):
        commit(path, {"a": b"new"})
    assert listing(tmp_path) == {"note"}
    assert contents(reopen(path)) == {"a": b"old"}


def test_the_new_one_counts_where_both_are_left(tmp_path: Path) -> None:
    commit(tmp_path / "note", {"a": b"new"})
    commit(tmp_path / ".replaced-note", {"a": b"old"})
    assert contents(reopen(tmp_path / "note")) == {"a": b"new"}
    commit(tmp_path / "note", {"a": b"newer"}, replace=True)
    assert listing(tmp_path) == {"note"}


class _LastSyncFails(RealDisk):
    """The new name is there but not known to be safe."""

    def sync(self, path: Path) -> None:
        if any(
            name.startswith(".tmp-") and (path / name / "old").exists() for name in listing(path)
        ):
            raise OSError(errno.EIO, "planted")
        super().sync(path)


def test_the_old_one_is_kept_where_the_swap_may_not_last(tmp_path: Path) -> None:
    path = commit(tmp_path / "note", {"old": b""})
    with pytest.raises(StorageError, match="EIO"):
        commit(path, {"new": b""}, replace=True, disk=_LastSyncFails())
    assert contents(reopen(path)) == {"new": b""}
    (hidden,) = listing(tmp_path) - {"note"}
    assert contents(reopen(tmp_path / hidden)) == {"old": b""}
    commit(path, {"newer": b""}, replace=True)
    assert listing(tmp_path) == {"note"}


class _Meanwhile(RealDisk):
    """Somebody else makes the target just before the rename."""

    def rename(self, source: Path, target: Path) -> None:
        target.mkdir()
        super().rename(source, target)


@pytest.mark.parametrize("replace", [False, True])
def test_a_target_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, replace: bool) -> None:
    with pytest.raises(ConfigError, match="already exists"):
        commit(tmp_path / "note", replace=replace, disk=_Meanwhile())
    assert listing(tmp_path) == {"note"}
    assert listing(tmp_path / "note") == set()


def test_a_rename_without_the_kernel_flag_does_not_overwrite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyrank.storage.disk._rename_with_flag", lambda *_: False)
    disk = RealDisk()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(FileExistsError):
        disk.rename(tmp_path / "a", tmp_path / "b")
    disk.rename(tmp_path / "a", tmp_path / "c")
    assert listing(tmp_path) == {"b", "c"}


def test_a_file_or_link_in_the_way_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            RealDisk().write(tmp_path / name, b"other")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_libc_without_renameat2_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    path = commit(tmp_path / "note", {"a": b"old"})
    commit(path, {"a": b"new"}, replace=True)
    assert contents(reopen(path)) == {"a": b"new"}
    assert listing(tmp_path) == {"note"}


def test_a_parent_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="note: cannot write the note: Not a directory"):
        commit(tmp_path / "file" / "note")


def test_two_processes_may_make_the_same_parent(tmp_path: Path) -> None:
    class Racing(RealDisk):
        def make_directory(self, path: Path) -> None:
            if path.name in {"a", "b"}:
                path.mkdir()
            super().make_directory(path)

    assert contents(reopen(commit(tmp_path / "a" / "b" / "note", disk=Racing()))) == FILES
