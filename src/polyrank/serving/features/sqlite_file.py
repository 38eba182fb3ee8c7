"""Rows in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from queue import Empty, LifoQueue
from urllib.parse import quote

from polyrank.serving.deadline import Deadline
from polyrank.serving.features.backend import StoreDown, StoreLate
from polyrank.serving.features.files import Rows

_MOST_KEYS = 10_000
"""Of one query; SQLite takes 32,766 parameters."""
_STEPS = 1000
"""Instructions of SQLite's machine between two looks at the clock: some ten microseconds."""


class SqliteFormat:
    """SQLite: a table of keys and rows for each side table, and one of their headers."""

    kind = "sqlite"

    def open(self, path: Path, table: str) -> tuple[SqliteReader, str | None]:
        """See ``FileFormat.open``."""
        reader = SqliteReader(path, table)
        try:
            return reader, reader.header()
        except (sqlite3.Error, StoreLate) as error:
            reader.close()
            raise StoreDown("it is no file of features") from error

    def write(self, path: Path, tables: Iterable[tuple[str, str, Rows]]) -> None:
        """See ``FileFormat.write``."""
        try:
            self._write(path, tables)
        except sqlite3.Error as error:
            raise StoreDown(f"SQLite: {error}") from error

    def _write(self, path: Path, tables: Iterable[tuple[str, str, Rows]]) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            connection.execute("CREATE TABLE headers (side TEXT PRIMARY KEY, header TEXT NOT NULL)")
            for name, header, rows in tables:
                connection.execute(
                    f"CREATE TABLE {_rows_of(name)} "
                    "(key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID"
                )
                connection.executemany(f"INSERT INTO {_rows_of(name)} VALUES (?, ?)", rows)  # noqa: S608
                connection.execute("INSERT INTO headers VALUES (?, ?)", (name, header))
            connection.execute("COMMIT")


class SqliteReader:
    """One side table of one file: a connection for each thread that reads at once.

    Connections are made by the file's name. Once another file has it, threads take turns with those
    that there are.
    """

    def __init__(self, path: Path, table: str) -> None:
        # The file never changes, so nothing has to be locked, nor written beside it.
        self._address = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
        self._path = path
        self._table = table
        self._file = _identity(path)
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()

    def header(self) -> str | None:
        """The header of the table, if there is one."""
        connection = self._taken(Deadline.within(0))
        try:
            found = connection.execute("SELECT header FROM headers WHERE side = ?", (self._table,))
            row = found.fetchone()
        finally:
            self._idle.put(connection)
        return None if row is None else str(row[0])

    def get(self, keys: Sequence[bytes], deadline: Deadline) -> Sequence[bytes | None]:
        """One query for every ten thousand keys."""
        found: dict[bytes, bytes] = {}
        connection = self._taken(deadline)
        try:
            connection.set_progress_handler(deadline.expired, _STEPS)
            for start in range(0, len(keys), _MOST_KEYS):
                some = keys[start : start + _MOST_KEYS]
                found.update(connection.execute(_query(self._table, len(some)), some))
        except sqlite3.Error as error:
            if deadline.expired():
                raise StoreLate("interrupted") from error
            raise StoreDown(f"SQLite: {error}") from error
        finally:
            self._idle.put(connection)
        return [found.get(key) for key in keys]

    def close(self) -> None:
        """Close every connection."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _taken(self, deadline: Deadline) -> sqlite3.Connection:
        """A connection that nobody uses; a new one where there is none and the file is there."""
        try:
            return self._idle.get_nowait()
        except Empty:
            pass
        if (made := self._made()) is not None:
            return made
        left = deadline.remaining()
        try:
            return self._idle.get(timeout=None if left == float("inf") else left)
        except Empty as error:
            raise StoreLate("no connection came free") from error

    def _made(self) -> sqlite3.Connection | None:
        try:
            connection = sqlite3.connect(self._address, uri=True, check_same_thread=False)
        except sqlite3.Error:
            return None
        try:
            same = _identity(self._path) == self._file
        except OSError:
            same = False
        if not same:
            connection.close()
        return connection if same else None


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _query(table: str, number: int) -> str:
    places = ",".join("?" * number)
    return f"SELECT key, row FROM {_rows_of(table)} WHERE key IN ({places})"  # noqa: S608


def _rows_of(table: str) -> str:
    return '"rows ' + table.replace('"', '""') + '"'
