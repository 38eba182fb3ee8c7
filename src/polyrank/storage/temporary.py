"""Hidden directories of a commit under way, and clearing away those of dead processes.

A writer holds a ``flock`` on its temporary directory; it ends with the process, however that ends.
So what can be locked is stale. Where a file system has no ``flock``, nothing is ever cleared.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from polyrank.storage.disk import Disk
from polyrank.storage.files import same_file

_SUFFIX = r"-\d+-[0-9a-f]{8}"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def hidden_sibling(path: Path, prefix: str) -> Path:
    """A fresh name ``.<prefix>-<name>-<pid>-<random>`` beside the path."""
    return path.with_name(f".{prefix}-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def claim_temporary(path: Path, disk: Disk) -> tuple[Path, int]:
    """Makes a temporary directory beside the path and locks it; the caller closes the lock."""
    while True:
        temporary = hidden_sibling(path, "tmp")
        disk.make_directory(temporary)
        try:
            lock = _lock(temporary)
        except OSError:
            disk.remove_tree(temporary)
            raise
        if lock is not None:
            return temporary, lock


def clear_stale(directory: Path, name_pattern: str, disk: Disk) -> None:
    """Removes temporary and retired directories of dead processes, for names of this pattern."""
    stale = re.compile(rf"\.(?:tmp|trash)-(?:{name_pattern}){_SUFFIX}")
    for path in sorted(directory.iterdir()):
        if stale.fullmatch(path.name):
            _remove_unless_locked(path, disk)


def _lock(temporary: Path) -> int | None:
    """The locked descriptor, or None if somebody cleared the directory before it was locked."""
    try:
        lock = os.open(temporary, _DIRECTORY)
    except FileNotFoundError:
        return None
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX)
    if same_file(lock, temporary):
        return lock
    os.close(lock)
    return None


def _remove_unless_locked(path: Path, disk: Disk) -> None:
    try:
        lock = os.open(path, _DIRECTORY)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        disk.remove_tree(path)
    except OSError:
        return
    finally:
        os.close(lock)
