"""What the operating system refused, as an error that says what to do about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from polyrank.errors import StorageError

_CURES = {
    errno.ENOSPC: "free space on this disk or choose another directory, then start again",
    errno.EDQUOT: "free some of your quota or choose another directory, then start again",
    errno.EROFS: "the disk is read-only: choose a directory on a writable one",
    errno.EACCES: "give this user read and write permission on the directory",
    errno.EPERM: "give this user read and write permission on the directory",
    errno.EIO: "the disk is failing: check the system log and move to another disk",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit of open files",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check that its directory exists, and what else uses it",
    errno.ENOTDIR: "a part of the path is not a directory: choose another path",
    errno.ENOLCK: "this file system has no locks: choose a directory on a local disk",
    errno.EOPNOTSUPP: "this file system cannot do it: choose a directory on a local disk",
}
_OTHER_CURE = "check the disk and the directory, then start again"


def storage_error(action: str, where: str, error: OSError) -> StorageError:
    """The error for a user: the action, the place (a base name), the reason and the cure."""
    number = error.errno or 0
    name = errno.errorcode.get(number, "unknown")
    reason = os.strerror(number) if number else str(error)
    return StorageError(
        f"cannot {action}: {reason} ({name})",
        where=where,
        hint=_CURES.get(number, _OTHER_CURE),
    )


@contextmanager
def storage_errors(action: str, where: str) -> Iterator[None]:
    """Turns every ``OSError`` of the block into a ``StorageError`` (exit code 6)."""
    try:
        yield
    except OSError as error:
        raise storage_error(action, where, error) from error
