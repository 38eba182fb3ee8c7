"""Temporary directories: those of the dead are cleared, those of the living never."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from polyrank.errors import StorageError
from polyrank.storage.disk import REAL_DISK, RealDisk
from polyrank.storage.temporary import claim_temporary, clear_stale, hidden_sibling
from tests.storage.samples import commit, listing, open_descriptors

STALE = ".tmp-note-4242-0123abcd"


def test_the_next_commit_clears_what_a_dead_one_left(tmp_path: Path) -> None:
    (tmp_path / STALE / "folder").mkdir(parents=True)
    (tmp_path / STALE / "folder" / "half").write_bytes(b"x")
    commit(tmp_path / "note")
    assert listing(tmp_path) == {"note"}


@pytest.mark.parametrize(
    "name",
    [".tmp-other-4242-0123abcd", ".tmp-note", ".tmp-note-old-4242-0123abcd", "tmp-note-1-0123abcd"],
)
def test_what_is_not_of_this_name_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    commit(tmp_path / "note")
    assert listing(tmp_path) == {"note", name}


def test_a_file_or_link_of_a_stale_name_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / STALE).symlink_to(precious)
    (tmp_path / ".tmp-note-1-00000000").write_text("")
    before = listing(tmp_path)
    clear_stale(tmp_path, "note", REAL_DISK)
    assert listing(tmp_path) == before


def test_one_that_is_being_written_is_not_cleared(tmp_path: Path) -> None:
    temporary, lock = claim_temporary(tmp_path / "note", REAL_DISK)
    clear_stale(tmp_path, "note", REAL_DISK)
    assert listing(tmp_path) == {temporary.name}
    os.close(lock)
    clear_stale(tmp_path, "note", REAL_DISK)
    assert listing(tmp_path) == set()


@pytest.mark.parametrize("moment", ["before it was opened", "before it was locked"])
def test_one_that_was_cleared_before_it_was_locked_is_made_again(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    class Clearing(RealDisk):
        def make_directory(self, path: Path) -> None:
            super().make_directory(path)
            made.append(path)
            if len(made) == 1 and moment == "before it was opened":
                path.rmdir()

    lock_it = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if len(made) == 1:
            made[0].rmdir()
        lock_it(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    before = open_descriptors(tmp_path)
    temporary, lock = claim_temporary(tmp_path / "note", Clearing())
    assert made[1:] == [temporary]
    assert listing(tmp_path) == {temporary.name}
    os.close(lock)
    assert open_descriptors(tmp_path) == before


def test_without_locks_all_is_written_and_nothing_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / STALE).mkdir()
    commit(tmp_path / "note")
    assert listing(tmp_path) == {"note", STALE}


def test_one_that_cannot_be_opened_is_removed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> int:
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr("polyrank.storage.temporary._lock", refuse)
    with pytest.raises(StorageError, match="Raise the limit of open files"):
        commit(tmp_path / "note")
    assert listing(tmp_path) == set()


def test_hidden_names_are_fresh() -> None:
    names = {hidden_sibling(Path("/x/note"), "tmp").name for _ in range(1000)}
    assert len(names) == 1000
    assert all(name.startswith(f".tmp-note-{os.getpid()}-") for name in names)
