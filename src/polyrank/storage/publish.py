"""Giving a finished directory its name: there at once or not at all, also when it replaces one.

Replacing swaps the two names in one step where the file system can. Elsewhere the old directory
steps aside to ``.replaced-<name>`` first; if the process dies before the new one takes the name,
``located`` finds the old one there, and the next commit gives it its name back.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from polyrank.storage.disk import Disk

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
