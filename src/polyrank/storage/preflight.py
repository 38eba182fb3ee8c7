"""Finds out that a directory cannot be written to before hours of work go into it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from polyrank.errors import ConfigError
from polyrank.storage.disk import REAL_DISK, Disk
from polyrank.storage.failures import storage_errors
from polyrank.storage.publish import make_directories


def check_writable(directory: Path, *, disk: Disk = REAL_DISK) -> None:
    """Makes the directory if it is missing, and writes, syncs and removes a file in it.

    Raises:
        ConfigError: It is a symbolic link or a file.
        StorageError: It cannot be made or written: read-only, no permission, full.
    """
    directory = directory.absolute()
    with storage_errors("write to the output directory", directory.name):
        _refuse_other_than_directory(directory)
        make_directories(directory, disk)
        probe = directory / f".probe-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            disk.write(probe, b"probe\n")
        finally:
            probe.unlink(missing_ok=True)
        disk.sync(directory)


def _refuse_other_than_directory(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ConfigError(
            f"the output directory is {'a symbolic link' if path.is_symlink() else 'a file'}",
            where=path.name,
            hint="give the path of a directory itself, or of one to be made",
        )
