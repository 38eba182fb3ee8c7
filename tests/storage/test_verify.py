"""Exactly the listed files, unaltered and regular, or nothing is opened (D1, D2)."""

from __future__ import annotations

import os
import random
import re
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyrank.errors import ArtefactError, StorageError
from polyrank.storage import arrays_writer
from tests.storage.samples import (
    FILES,
    MANIFEST,
    commit,
    contents,
    flip,
    refusal,
    reopen,
)

# Single bits


def _flip_all(directory: Path, amount: int, seed: int) -> None:
    arrays: dict[str, Any] = {"table": np.arange(64, dtype=np.float32), "gate": np.ones((3, 4))}
    path = commit(directory / "note", {**FILES, "w.safetensors": arrays_writer(arrays)})
    files = [p for p in sorted(path.rglob("*")) if p.is_file() and p.stat().st_size]
    draw = random.Random(seed)
    accepted = []
    for _ in range(amount):
        file = draw.choice(files)
        place = draw.randrange(file.stat().st_size), draw.randrange(8)
        flip(file, *place)
        try:
            reopen(path).close()
            accepted.append((file.name, *place))
        except ArtefactError:
            pass
        flip(file, *place)
    assert accepted == []
    assert contents(reopen(path)).keys() == {*FILES, "w.safetensors"}


def test_1000_flipped_bits_are_all_refused(tmp_path: Path) -> None:
    _flip_all(tmp_path, 1_000, seed=1)


@pytest.mark.nightly
def test_10000_flipped_bits_are_all_refused(tmp_path: Path) -> None:
    _flip_all(tmp_path, 10_000, seed=2)


def test_every_bit_of_the_manifest_counts(tmp_path: Path) -> None:
    path = commit(tmp_path / "note", {"a": b"1"})
    manifest = path / "MANIFEST.json"
    for position in range(manifest.stat().st_size):
        for bit in range(8):
            flip(manifest, position, bit)
            with pytest.raises(ArtefactError):
                reopen(path)
            flip(manifest, position, bit)
    assert contents(reopen(path)) == {"a": b"1"}


@pytest.mark.parametrize("name", [*(name for name in FILES if FILES[name]), "MANIFEST.json"])
@pytest.mark.parametrize("change", ["truncate", "append", "empty", "zeros"])
def test_another_length_or_content_is_refused(tmp_path: Path, name: str, change: str) -> None:
    path = commit(tmp_path / "note") / name
    content = path.read_bytes()
    changed = {
        "truncate": content[:-1],
        "append": content + b"\0",
        "empty": b"",
        "zeros": bytes(len(content)),
    }
    path.write_bytes(changed[change])
    refusal(tmp_path / "note")


# The files themselves


def _rename(path: Path, old: str, new: str) -> None:
    (path / old).rename(path / new)


def _swap(note: Path) -> None:
    _rename(note, "card.json", "x")
    _rename(note, "weights.safetensors", "card.json")
    _rename(note, "x", "weights.safetensors")


def _socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        home = Path.cwd()
        os.chdir(path.parent)
        try:
            server.bind(path.name)
        finally:
            os.chdir(home)


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _hard_link(path: Path) -> None:
    os.link(path, path.parent.parent / "elsewhere")


def _device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))


def _same_bytes_by_link(path: Path) -> None:
    original = path.parent.parent / "original"
    path.rename(original)
    path.symlink_to(original)


def _folder_by_link(note: Path) -> None:
    (note / "state").rename(note.parent / "state")
    (note / "state").symlink_to(note.parent / "state")


def _folder_is_file(note: Path) -> None:
    (note / "state").rename(note.parent / "state")
    (note / "state").write_text("")


def _crowd(note: Path) -> None:
    for number in range(2_000):
        (note / f"extra{number}").touch()


TAMPERED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "missing": ("are missing \\('card.json'\\)", lambda note: (note / "card.json").unlink()),
    "missing in a folder": (
        "missing \\('state/cursor.json'\\)",
        lambda note: (note / "state/cursor.json").unlink(),
    ),
    "manifest missing": ("MANIFEST.json: the file", lambda note: (note / "MANIFEST.json").unlink()),
    "extra": ("'x'", lambda note: (note / "x").write_text("")),
    "extra hidden": ("'.x'", lambda note: (note / ".x").write_text("")),
    "extra in a folder": ("'state/x'", lambda note: (note / "state/x").write_text("")),
    "extra folder": ("'x'", lambda note: (note / "x").mkdir()),
    "extra folder in a folder": ("'state/x'", lambda note: (note / "state/x").mkdir()),
    "extra with odd bytes": (r"'\\udcff'", lambda note: (note / os.fsdecode(b"\xff")).touch()),
    "crowd": ("not list", _crowd),
    "duplicated": (
        "'card copy.json'",
        lambda note: (note / "card copy.json").write_bytes(FILES["card.json"]),
    ),
    "renamed": ("'kard.json'", lambda note: _rename(note, "card.json", "kard.json")),
    "case": ("'CARD.json'", lambda note: _rename(note, "card.json", "CARD.json")),
    "case of a folder": ("state: is missing", lambda note: _rename(note, "state", "State")),
    "case of the manifest": (
        "the file is missing",
        lambda note: _rename(note, "MANIFEST.json", "Manifest.json"),
    ),
    "swapped": (
        "card.json: ",
        _swap,
    ),
    "link to the same bytes": (
        "not a regular",
        lambda note: _same_bytes_by_link(note / "card.json"),
    ),
    "manifest is a link": ("not a regular", lambda note: _same_bytes_by_link(note / MANIFEST)),
    "dangling link": (
        "not a regular",
        lambda note: _replace(note / "card.json", lambda path: path.symlink_to("nowhere")),
    ),
    "link to itself": (
        "not a regular",
        lambda note: _replace(note / "card.json", lambda path: path.symlink_to("card.json")),
    ),
    "folder is a link": ("state: is missing or not a folder", _folder_by_link),
    "folder is a file": ("state: is missing or not a folder", _folder_is_file),
    "hard link": ("2 hard links", lambda note: _hard_link(note / "card.json")),
    "hard link of the manifest": ("2 hard links", lambda note: _hard_link(note / "MANIFEST.json")),
    "pipe": ("not a regular", lambda note: _replace(note / "card.json", os.mkfifo)),
    "manifest is a pipe": ("not a regular", lambda note: _replace(note / MANIFEST, os.mkfifo)),
    "socket": ("not a regular", lambda note: _socket(note / "card.json")),
    "directory": ("not a regular", lambda note: _replace(note / "card.json", os.mkdir)),
    "manifest is a directory": (
        "not a regular",
        lambda note: _replace(note / "MANIFEST.json", os.mkdir),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TAMPERED)
def test_only_the_listed_regular_files_are_accepted(tmp_path: Path, case: str) -> None:
    reason, tamper = TAMPERED[case]
    path = commit(tmp_path / "note")
    tamper(path)
    assert re.search(reason, str(refusal(path)))


def test_a_device_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    path = commit(tmp_path / "note")
    try:
        _replace(path / "card.json", _device)
    except PermissionError:
        pytest.skip("making a device needs root")
    assert "not a regular file" in str(refusal(path))


def test_a_pipe_that_takes_the_place_after_the_look_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = commit(tmp_path / "note")
    look = os.stat

    def stat_then_swap(name: Any, **options: Any) -> os.stat_result:
        found = look(name, **options)
        if name == "card.json":
            _replace(path / "card.json", os.mkfifo)
        return found

    monkeypatch.setattr(os, "stat", stat_then_swap)
    assert "not a regular file" in str(refusal(path))


# What is at the path itself

OFFERED = {
    "missing": (None, "does not exist"),
    "text": (b"hello", "is a file; a note is a directory"),
    "empty file": (b"", "is a file"),
}


@pytest.mark.parametrize("case", OFFERED)
def test_what_is_not_a_directory_is_refused(tmp_path: Path, case: str) -> None:
    content, reason = OFFERED[case]
    if content is not None:
        (tmp_path / "model").write_bytes(content)
    assert reason in str(refusal(tmp_path / "model"))


def test_a_pipe_or_empty_directory_at_the_path_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in str(refusal(tmp_path / "pipe"))
    (tmp_path / "empty").mkdir()
    assert "MANIFEST.json: the file is missing" in str(refusal(tmp_path / "empty"))


def test_a_link_to_an_artefact_is_followed(tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(commit(tmp_path / "v1"))
    assert contents(reopen(tmp_path / "current")) == FILES


def test_what_cannot_be_read_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = commit(tmp_path / "note")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 2, limits[1]))
    try:
        with pytest.raises(StorageError, match="Raise the limit of open files"):
            reopen(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    with pytest.raises(StorageError, match="ENAMETOOLONG"):
        reopen(tmp_path / ("x" * 300))
