"""Rows in a file that is never changed, only replaced: a new file is taken over while in use.

Whoever fills such a file writes another and gives it the name (``filling``). Each call looks at
the name first; a call that began on the old file ends on it. A new file that cannot be read, or
was filled for other columns, is not taken, and the old one goes on answering.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from polyrank.errors import ArtefactError
from polyrank.serving.deadline import Deadline
from polyrank.serving.features.backend import StoreDown, check_header
from polyrank.serving.features.codec import RowCodec

Stamp = tuple[int, int, int, int]
"""Device, inode, size and time of change: what a file that takes another's place differs in."""


Rows = Iterable[tuple[bytes, bytes]]
"""Keys and rows."""


class FileReader(Protocol):
    """One open file, one side table of it; any number of threads may call it at once."""

    def get(self, keys: Sequence[bytes], deadline: Deadline) -> Sequence[bytes | None]:
        """As ``Backend.get``."""
        ...

    def close(self) -> None:
        """Nobody reads any more."""
        ...


class FileFormat(Protocol):
    """How rows lie in a file."""

    kind: str

    def open(self, path: Path, table: str) -> tuple[FileReader, str | None]:
        """The reader of a side table, and its header as JSON, if the file has the table.

        Raises:
            StoreDown: It is no such file.
        """
        ...

    def write(self, path: Path, tables: Iterable[tuple[str, str, Rows]]) -> None:
        """A new file of side tables: name, header and rows of each.

        Raises:
            OSError: It cannot be written.
        """
        ...


class _Lease:
    """An open file, closed when it is retired and nobody reads it; callers hold a lock."""

    def __init__(self, reader: FileReader, stamp: Stamp) -> None:
        self.reader = reader
        self.stamp = stamp
        self.retired = False
        self._num_readers = 0

    def take(self) -> FileReader:
        """One more reads."""
        self._num_readers += 1
        return self.reader

    def give_back(self) -> None:
        """One less reads."""
        self._num_readers -= 1
        self._close_if_done()

    def retire(self) -> None:
        """Nobody begins to read any more."""
        if not self.retired:
            self.retired = True
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self.retired and not self._num_readers:
            self.reader.close()


class FileBackend:
    """The rows of one side table in a file.

    Args:
        path: Where the file is.
        codec: Of the table.
        file_format: SQLite or LMDB.

    Raises:
        ArtefactError: It is missing, no such file, or filled for other columns.
    """

    def __init__(self, path: Path, codec: RowCodec, file_format: FileFormat) -> None:
        self.kind = file_format.kind
        self._path = path
        self._codec = codec
        self._format = file_format
        self._lock = threading.Lock()
        self._refused: Stamp | None = None
        try:
            self._lease = self._opened(_stamp(path))
        except OSError as error:
            told = f"cannot be read as {self.kind}: {error.strerror or error}"
            hint = "Fill it with `polyrank features load`."
            raise ArtefactError(told, where=path.name, hint=hint) from error

    def get(self, keys: Sequence[bytes], deadline: Deadline) -> Sequence[bytes | None]:
        """The rows, all from one file."""
        with self._leased() as reader:
            return reader.get(keys, deadline)

    def close(self) -> None:
        """Close the file once nobody reads it."""
        with self._lock:
            self._lease.retire()

    @contextmanager
    def _leased(self) -> Iterator[FileReader]:
        with self._lock:
            self._follow()
            lease = self._lease
            if lease.retired:
                raise StoreDown("closed")
            reader = lease.take()
        try:
            yield reader
        finally:
            with self._lock:
                lease.give_back()

    def _follow(self) -> None:
        """Take over the file that has the name now, if it is another one and does."""
        try:
            stamp = _stamp(self._path)
        except OSError:  # gone: what is open goes on answering
            return
        if stamp in (self._lease.stamp, self._refused) or self._lease.retired:
            return
        try:
            lease = self._opened(stamp)
        except (ArtefactError, OSError):
            self._refused = stamp
            return
        self._lease.retire()
        self._lease = lease

    def _opened(self, stamp: Stamp) -> _Lease:
        reader, header = self._format.open(self._path, self._codec.name)
        try:
            check_header(_parsed(header), self._codec, self._path.name)
        except ArtefactError:
            reader.close()
            raise
        return _Lease(reader, stamp)


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _parsed(header: str | None) -> Any:
    try:
        return None if header is None else json.loads(header)
    except ValueError:
        return {}
