"""Whether what lies at a path may be written over: only what was asked for, and only by its like.

An artefact is known by the kind in its manifest, a file by its first bytes, never by its name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

from polyrank.errors import ArtefactError, ConfigError
from polyrank.storage.failures import storage_errors
from polyrank.storage.files import open_regular
from polyrank.storage.manifest import TAIL_BYTES, kind_line, told_kind
from polyrank.storage.names import MANIFEST

FileKind = Literal["Parquet", "YAML", "JSON", "HTML", "PNG", "SQLite", "LMDB"]
_HEAD_BYTES = 1 << 16
_HINT = "choose another path, or move it away yourself"
_DAMAGED_BYTES = 1
"""In the line of a manifest that tells the kind: a damaged artefact can be replaced."""


def already_exists(path: Path) -> ConfigError:
    """The refusal to write where something is."""
    return ConfigError(
        "already exists, and nothing is ever overwritten unasked",
        where=path.name,
        hint="choose another path, or ask to replace it (--force)",
    )


def check_target(path: Path, *, kind: str, replace: bool) -> None:
    """Refuses to write an artefact where something is, or to replace what is not of its kind.

    An empty directory may be replaced, and an artefact whose files are damaged or missing, as long
    as its manifest tells the kind but for one byte.

    Raises:
        ConfigError: With what lies there.
    """
    if _is_free(path, replace=replace):
        return
    if _is_plain_directory(path):
        if _is_empty(path):
            return
        found = _end_of_manifest(path)
        if found is not None and _tells(found, kind):
            return
        other = None if found is None else told_kind(found)
        if other is not None:
            raise _unlike(path, f"an artefact of kind {kind!r}", f"is one of kind {other[:64]!r}")
    raise ConfigError(
        f"is to be replaced but is not an artefact (a directory with {MANIFEST})",
        where=path.name,
        hint=_HINT,
    )


def check_folder(path: Path, names: Collection[str], *, what: str, replace: bool) -> None:
    """Refuses to write a folder of these files where something is, or to replace any other one.

    Raises:
        ConfigError: With what lies there.
    """
    if _is_free(path, replace=replace):
        return
    if not _is_plain_directory(path):
        raise _unlike(path, f"a folder with {what}", "is none")
    if not _is_empty(path) and {entry.name for entry in path.iterdir()} != set(names):
        raise _unlike(path, f"a folder with {what}", "is another one")


def check_file(path: Path, *, kind: FileKind, replace: bool) -> None:
    """Refuses to write a file where something is, or to replace what is not of its kind.

    An empty file may be replaced; a link is judged by what it leads to.

    Raises:
        ConfigError: With what lies there.
        StorageError: It cannot be read.
    """
    if _is_free(path, replace=replace):
        return
    if not path.is_file():
        raise _unlike(path, f"one of {kind}", "is no file")
    with storage_errors("look at what is to be replaced", path.name), path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head and not _IS[kind](head):
        raise _unlike(path, f"one of {kind}", "is none by its content")


def _is_free(path: Path, *, replace: bool) -> bool:
    """Whether nothing is there; what is, and is not to be replaced, is refused."""
    free = not os.path.lexists(path)
    if not (free or replace):
        raise already_exists(path)
    return free


def _unlike(path: Path, what: str, other: str) -> ConfigError:
    return ConfigError(f"is to be replaced by {what} and {other}", where=path.name, hint=_HINT)


def _is_plain_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_empty(path: Path) -> bool:
    return next(path.iterdir(), None) is None


def _end_of_manifest(path: Path) -> bytes | None:
    """Where it tells the kind; None: there is no manifest to read."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = open_regular(MANIFEST, directory=directory)
    except (ArtefactError, OSError):
        return None
    finally:
        os.close(directory)
    try:
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
    finally:
        os.close(descriptor)


def _tells(end: bytes, kind: str) -> bool:
    line = kind_line(kind)
    windows = (end[start : start + len(line)] for start in range(len(end) - len(line) + 1))
    return any(
        sum(a != b for a, b in zip(line, window, strict=True)) <= _DAMAGED_BYTES
        for window in windows
    )


def _begins(pattern: bytes) -> Callable[[bytes], bool]:
    return lambda head: re.match(pattern, head, re.IGNORECASE) is not None


def _is_yaml(head: bytes) -> bool:
    """Whether the first line that says something begins a mapping, as every configuration does."""
    lines = (line.strip() for line in head.splitlines())
    first = next((line for line in lines if line and not line.startswith((b"#", b"---"))), b"")
    return re.match(rb"[\w.\"'-]+\s*:(?:\s|$)", first) is not None


_IS: dict[FileKind, Callable[[bytes], bool]] = {
    "Parquet": _begins(rb"PAR1"),
    "YAML": _is_yaml,
    "JSON": _begins(rb"\s*[{\[]"),
    "HTML": _begins(rb"\s*<!doctype html"),
    "PNG": _begins(rb"\x89PNG"),
    "SQLite": _begins(rb"SQLite format 3\x00"),
    "LMDB": _begins(rb"[\x00-\xff]{16}\xde\xc0\xef\xbe"),
}
