"""One file of the log: a hidden part until it is whole, then Parquet under its own name.

Readers of folders pass over names that start with a dot. A part is locked as long as its process
lives, so what can be locked was left by a dead one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PART = ".part"
_STAMP = "%Y%m%dT%H%M%S.%f"
_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z-\d+-[0-9a-f]{8}\.parquet")


class Part:
    """An open file.

    Args:
        folder: Where; it exists.
        schema: Of all tables.

    Raises:
        OSError: The disk refused.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        stamp = _instant(folder).strftime(_STAMP)
        name = f"{stamp}Z-{os.getpid()}-{secrets.token_hex(4)}.parquet"
        self.schema = schema
        self._path = folder / name
        self._sink = _Sink(folder / f".{name}{PART}")
        try:
            file = pa.PythonFile(self._sink, "w")
            self._writer = pq.ParquetWriter(
                file, schema, compression="zstd", write_page_checksum=True
            )
        except OSError:
            self._sink.discard()
            raise

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._sink.size

    def write(self, table: pa.Table) -> None:
        """Add rows.

        Raises:
            OSError: The disk refused; ``discard`` it.
        """
        self._writer.write_table(table)

    def publish(self) -> Path:
        """Make it a file that survives a crash.

        Raises:
            OSError: The disk refused; ``discard`` it.
        """
        self._writer.close()
        self._sink.publish(self._path)
        return self._path

    def discard(self) -> None:
        """Leave nothing of it."""
        self._sink.discard()
        self._writer.close()  # else its destructor would try to write the footer


class _Sink:
    """A file that Arrow writes to, and that can be told to swallow what comes."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.size = 0
        self.closed = False
        self._path = path
        self._descriptor = os.open(path, flags, 0o640)
        self._muted = False
        with contextlib.suppress(OSError):  # without locks no part is ever cleared away
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, content: bytes) -> int:
        rest = memoryview(content)
        size = rest.nbytes
        while rest and not self._muted:
            rest = rest[os.write(self._descriptor, rest) :]
        self.size += size
        return size

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Arrow is done; the descriptor goes with ``publish`` or ``discard``."""

    def publish(self, path: Path) -> None:
        os.fsync(self._descriptor)
        self._path.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._release()

    def discard(self) -> None:
        self._muted = True
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _instant(folder: Path) -> datetime:
    """Now; after the clock was set back, just after the newest file: those that are the oldest by
    name make room for others."""
    now, files = datetime.now(UTC), finished(folder)
    with contextlib.suppress(ValueError, OverflowError):  # somebody else's file
        stamp = files[-1].name.partition("Z")[0] if files else ""
        newest = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
        return max(now, newest + timedelta(microseconds=1))
    return now


def finished(folder: Path) -> list[Path]:
    """The log's whole files, oldest first.

    Raises:
        OSError: The folder cannot be read.
    """
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def clear_left_behind(folder: Path) -> None:
    """Remove the parts of processes that are gone.

    Raises:
        OSError: The folder cannot be read.
    """
    for path in folder.iterdir():
        if path.suffix == PART and _NAME.fullmatch(path.stem[1:]):
            with _locked(path) as is_left:
                if is_left:
                    path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
