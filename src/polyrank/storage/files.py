"""Opening and hashing files that somebody else may have put there."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from itertools import islice
from pathlib import Path

from polyrank.errors import ArtefactError
from polyrank.storage.content import HEAD_BYTES, refuse_loadable
from polyrank.storage.manifest import FileEntry
from polyrank.storage.names import MAX_FILES

_CHUNK_BYTES = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FOLDER = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_HINT = "restore the artefact from where it was made"


def open_regular(name: str, *, directory: int) -> int:
    """Opens a regular file with one link, relative to an open directory, and never waits.

    Raises:
        ArtefactError: It is missing, or a symbolic link, hard link, pipe, socket, device or folder.
    """
    try:
        _require_regular(os.stat(name, dir_fd=directory, follow_symlinks=False), name)
        descriptor = os.open(name, _READ, dir_fd=directory)
    except FileNotFoundError as error:
        raise ArtefactError("the file is missing", where=name, hint=_HINT) from error
    try:
        _require_regular(os.fstat(descriptor), name)
    except ArtefactError:
        os.close(descriptor)
        raise
    return descriptor


def measure(descriptor: int, *, where: str) -> FileEntry:
    """Size and SHA-256 of an open file, read 1 MiB at a time.

    Raises:
        ArtefactError: Its content is a pickle, an archive or a compressed file.
    """
    digest = hashlib.sha256()
    size = 0
    buffer = bytearray(_CHUNK_BYTES)
    while count := os.preadv(descriptor, [buffer], size):
        if size == 0:
            refuse_loadable(bytes(buffer[: min(count, HEAD_BYTES)]), where=where)
        digest.update(memoryview(buffer)[:count])
        size += count
    return FileEntry(size=size, sha256=digest.hexdigest())


def names_in(root: int, folder: str) -> list[str]:
    """The names in a folder of an open directory (its own with ``""``), relative to the latter.

    Of a crowd only as many as show that it cannot be an artefact.

    Raises:
        ArtefactError: The folder is missing or something else.
    """
    try:
        descriptor = os.open(folder or ".", _FOLDER, dir_fd=root)
    except OSError as error:
        if error.errno not in _NO_FOLDER:
            raise
        raise ArtefactError("is missing or not a folder", where=folder, hint=_HINT) from error
    try:
        with os.scandir(descriptor) as entries:
            names = [entry.name for entry in islice(entries, MAX_FILES + 2)]
    finally:
        os.close(descriptor)
    return [f"{folder}/{name}" if folder else name for name in names]


def read_bytes(descriptor: int, size: int) -> bytes:
    """The first ``size`` bytes of an open file, or all there are, in one piece of memory."""
    parts: list[bytes] = []
    filled = 0
    while filled < size and (part := os.pread(descriptor, size - filled, filled)):
        parts.append(part)
        filled += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_into(descriptor: int, buffer: memoryview) -> int:
    """Fills the buffer from the start of an open file; the number of bytes there were for it."""
    filled = 0
    while filled < len(buffer):
        count = os.preadv(descriptor, [buffer[filled:]], filled)
        if count == 0:
            break
        filled += count
    return filled


def same_file(descriptor: int, path: Path) -> bool:
    """Whether the path still names what was opened; False if that cannot be found out."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def _require_regular(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        reason = "this is not a regular file but a link, folder, pipe, socket or device"
    elif status.st_nlink > 1:
        reason = f"the file has {status.st_nlink} hard links, so another path can change it"
    else:
        return
    raise ArtefactError(reason, where=name, hint="copy the artefact with its content (cp -rL)")
