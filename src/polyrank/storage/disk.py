"""The few operations that a commit does to a disk, so that a test can record and reorder them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})


class Disk(Protocol):
    """Each call raises ``OSError``; none is retried."""

    def make_directory(self, path: Path) -> None:
        """Makes one directory; it must not exist."""

    def write(self, path: Path, content: bytes) -> None:
        """Makes a file (it must not exist) with this content and syncs its data."""

    def sync(self, path: Path) -> None:
        """Makes a file's data or a directory's entries durable."""

    def rename(self, source: Path, target: Path) -> None:
        """Renames; the target must not exist."""

    def exchange(self, first: Path, second: Path) -> bool:
        """Swaps two names in one step; False where the file system cannot."""

    def remove_tree(self, path: Path) -> None:
        """Removes a directory and all in it as far as it can; never raises."""


class RealDisk:
    """The operating system's calls."""

    def make_directory(self, path: Path) -> None:
        """Makes one directory; it must not exist."""
        path.mkdir()

    def write(self, path: Path, content: bytes) -> None:
        """Makes a file (it must not exist) with this content and syncs its data."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o666)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync(self, path: Path) -> None:
        """Makes a file's data or a directory's entries durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Renames; the target must not exist.

        Where the kernel cannot promise that, it is looked at first.
        """
        if not _rename_with_flag(source, target, _RENAME_NOREPLACE):
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            source.rename(target)

    def exchange(self, first: Path, second: Path) -> bool:
        """Swaps two names in one step; False where the file system cannot."""
        return _rename_with_flag(first, second, _RENAME_EXCHANGE)

    def remove_tree(self, path: Path) -> None:
        """Removes a directory and all in it as far as it can; never raises."""
        import shutil  # as costly to import as the rest of the room together

        shutil.rmtree(path, ignore_errors=True)


REAL_DISK = RealDisk()


def _rename_with_flag(source: Path, target: Path, flag: int) -> bool:
    """Linux's ``renameat2``; False where libc, kernel or file system do not have it."""
    import ctypes

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    names = os.fsencode(source), os.fsencode(target)
    if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], flag) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))
