"""Rows in an LMDB file, mapped into memory.

Needs the extra ``lmdb``. What is mapped must not be cut short or written over in place: the system
ends a process that reads what is no longer there. Replace the file, as ``polyrank features load``
does.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from polyrank.errors import ConfigError
from polyrank.serving.deadline import Deadline
from polyrank.serving.features.backend import StoreDown, StoreLate
from polyrank.serving.features.files import Rows

_HEADERS = b"headers"
_MOST_TABLES = 1024
_LONGEST_KEY = 500
"""Bytes; LMDB takes 511."""
_FIRST_SIZE = 1 << 24
_BATCH = 10_000
_AT_ONCE = 256
"""Keys between two looks at the clock."""
_Identity = tuple[int, int]

_open: dict[_Identity, tuple[Any, int]] = {}
"""The files this process maps and how often: LMDB forbids mapping one twice."""
_lock = threading.Lock()


class LmdbFormat:
    """LMDB: a database of keys and rows for each side table, and one of their headers.

    Raises:
        ConfigError: The extra is not installed.
    """

    kind = "lmdb"

    def __init__(self) -> None:
        _library()

    def open(self, path: Path, table: str) -> tuple[LmdbReader, str | None]:
        """See ``FileFormat.open``."""
        reader = LmdbReader(path, table)
        return reader, reader.header

    def write(self, path: Path, tables: Iterable[tuple[str, str, Rows]]) -> None:
        """See ``FileFormat.write``."""
        try:
            self._write(path, tables)
        except _library().Error as error:
            raise StoreDown(f"LMDB: {error}") from error

    def _write(self, path: Path, tables: Iterable[tuple[str, str, Rows]]) -> None:
        options = {"subdir": False, "lock": False, "sync": False, "max_dbs": _MOST_TABLES}
        environment = _library().open(os.fspath(path), map_size=_FIRST_SIZE, **options)
        with closing(environment):
            headers = environment.open_db(_HEADERS)
            for name, header, rows in tables:
                database = environment.open_db(_rows_of(name))
                for batch in _batches((_fitting(key), row) for key, row in rows):
                    _put(environment, database, batch)
                _put(environment, headers, [(name.encode(), header.encode())])
            environment.sync(True)


class LmdbReader:
    """One side table of one file, whose map all readers of the process share."""

    def __init__(self, path: Path, table: str) -> None:
        found = path.stat()
        self._identity = found.st_dev, found.st_ino
        self._environment = _mapped(path, self._identity)
        self._database: Any = None
        self.header: str | None = None
        try:
            with self._environment.begin(db=self._environment.open_db(_HEADERS)) as transaction:
                header = transaction.get(table.encode())
            if header is not None:
                self._database = self._environment.open_db(_rows_of(table), create=False)
                self.header = header.decode("utf-8", "replace")
        except _library().Error as error:
            self.close()
            raise StoreDown("it is no file of features") from error

    def get(self, keys: Sequence[bytes], deadline: Deadline) -> Sequence[bytes | None]:
        """A look-up a key in one snapshot."""
        fitting = [_fitting(key) for key in keys]
        found: dict[bytes, bytes] = {}
        try:
            with self._environment.begin(db=self._database) as transaction:
                cursor = transaction.cursor()
                for start in range(0, len(fitting), _AT_ONCE):
                    if deadline.expired():
                        raise StoreLate("too slow")
                    found.update(cursor.getmulti(fitting[start : start + _AT_ONCE]))
        except _library().Error as error:
            raise StoreDown(f"LMDB: {type(error).__name__}") from error
        return [found.get(key) for key in fitting]

    def close(self) -> None:
        """Unmap the file, if no other reader has it."""
        with _lock:
            environment, readers = _open[self._identity]
            if readers > 1:
                _open[self._identity] = environment, readers - 1
            else:
                del _open[self._identity]
                environment.close()


def _library() -> Any:
    try:
        import lmdb
    except ImportError as error:
        raise ConfigError(
            "stores in LMDB need the extra `lmdb`", hint="Install it: pip install 'polyrank[lmdb]'."
        ) from error
    return lmdb


def _mapped(path: Path, identity: _Identity) -> Any:
    with _lock:
        environment, readers = _open.get(identity, (None, 0))
        if environment is None:
            environment = _map(path)
        _open[identity] = environment, readers + 1
    return environment


def _map(path: Path) -> Any:
    try:
        environment = _library().open(
            os.fspath(path),
            subdir=False,
            readonly=True,
            lock=False,
            create=False,
            max_dbs=_MOST_TABLES,
        )
    except _library().Error as error:
        raise StoreDown("it is no file of features") from error
    pages = environment.info()["last_pgno"] + 1
    if pages * environment.stat()["psize"] > path.stat().st_size:
        environment.close()
        raise StoreDown("it is cut short")
    return environment


def _put(environment: Any, database: Any, rows: Sequence[tuple[bytes, bytes]]) -> None:
    """Put rows in, in a larger map where they find no room."""
    while True:
        try:
            with environment.begin(write=True, db=database) as transaction:
                transaction.cursor().putmulti(rows)
        except _library().MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])
        else:
            return


def _batches(rows: Rows) -> Iterable[list[tuple[bytes, bytes]]]:
    batch: list[tuple[bytes, bytes]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _fitting(key: bytes) -> bytes:
    """A key that LMDB takes: neither empty nor long. Rows say which key they are of."""
    if len(key) <= _LONGEST_KEY:
        return b"=" + key
    return b"#" + hashlib.sha256(key).digest()


def _rows_of(table: str) -> bytes:
    return b"rows " + table.encode()
