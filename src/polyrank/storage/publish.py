"""Giving a finished directory its name: there at once or not at all, also when it replaces one.

Replacing swaps the two names in one step where the file system can. Elsewhere the old directory
steps aside to ``.replaced-<name>`` first; if the process dies before the new one takes the name,
``located`` finds the old one there, and the next commit gives it its name back.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from polyrank.errors import ConfigError
from polyrank.storage.disk import Disk
from polyrank.storage.names import MANIFEST

ASIDE = ".replaced-"


def located(path: Path) -> Path:
    """Where the artefact of this path lies: there, or aside if a swap was cut short."""
    aside = _aside(path)
    return aside if aside.is_dir() and not os.path.lexists(path) else path


def make_directories(path: Path, disk: Disk) -> None:
    """Makes a directory and all above it, each durably."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        with suppress(FileExistsError):
            disk.make_directory(directory)
        disk.sync(directory.parent)


def recover(path: Path, disk: Disk) -> None:
    """Ends a swap that was cut short."""
    aside = _aside(path)
    if not os.path.lexists(aside):
        return
    if os.path.lexists(path):
        disk.remove_tree(aside)
    else:
        disk.rename(aside, path)


def already_exists(path: Path) -> ConfigError:
    """The refusal to write where something is."""
    return ConfigError(
        "already exists, and nothing is ever overwritten unasked",
        where=path.name,
        hint="choose another path, or ask to replace it",
    )


def check_target(path: Path, *, replace: bool) -> None:
    """Refuses to write where something is, or to replace what is not an artefact."""
    if not os.path.lexists(path):
        return
    if not replace:
        raise already_exists(path)
    if not (_is_plain_directory(path) and _holds_manifest_or_nothing(path)):
        raise ConfigError(
            f"is to be replaced but is not an artefact (a directory with {MANIFEST})",
            where=path.name,
            hint="choose another path, or move it away yourself",
        )


def publish(temporary: Path, path: Path, *, replace: bool, disk: Disk) -> None:
    """Gives the temporary directory the name, durably; an old one is removed after that."""
    replaced = None
    if not (replace and os.path.lexists(path)):
        disk.rename(temporary, path)
    elif disk.exchange(temporary, path):
        replaced = temporary
    else:
        replaced = _aside(path)
        _swap_by_two_renames(temporary, path, replaced, disk)
    disk.sync(path.parent)
    if replaced is not None:
        disk.remove_tree(replaced)


def _swap_by_two_renames(temporary: Path, path: Path, aside: Path, disk: Disk) -> None:
    disk.rename(path, aside)
    try:
        disk.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            disk.rename(aside, path)
        raise


def _aside(path: Path) -> Path:
    return path.with_name(ASIDE + path.name)


def _is_plain_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _holds_manifest_or_nothing(path: Path) -> bool:
    return os.path.lexists(path / MANIFEST) or next(path.iterdir(), None) is None
