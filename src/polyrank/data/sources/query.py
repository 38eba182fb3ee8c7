"""A log that a duckdb query gives, streamed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa

from polyrank.data.sources.base import CHUNK_ROWS, Chunk, Need, Part, Source
from polyrank.data.sources.rechunk import rechunk
from polyrank.errors import ConfigError, DataError

_ORIGIN = "query"


class QuerySource(Source):
    """One SELECT statement, run anew for each pass.

    Args:
        sql: The statement. Its rows come in the order it gives them; without ORDER BY that is the
            order of the files it reads.
        root: Folder that relative file names in it start from.
        chunk_rows: Rows of a chunk at most.

    Raises:
        ConfigError: duckdb is not installed, or the statement is wrong.
    """

    def __init__(self, sql: str, root: Path | None = None, chunk_rows: int = CHUNK_ROWS) -> None:
        self._sql = sql.strip().rstrip(";")
        self._root = root
        self._chunk_rows = chunk_rows
        self._duckdb = _import_duckdb()
        with self._select("*", "LIMIT 0") as reader:
            self._schema = reader.schema

    def schema(self) -> pa.Schema:
        """Columns and their types."""
        return self._schema

    def parts(self) -> Sequence[Part]:
        """The query; how many rows it gives, only running it tells."""
        return [Part(_ORIGIN, self._schema, None)]

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        """The rows of the query."""
        chosen = "*" if columns is None else ", ".join(map(_quoted, columns))
        row = 0
        with self._select(chosen) as reader:
            tables = (pa.table(batch) for batch in reader)
            for table in rechunk(tables, self._chunk_rows):
                yield Chunk(table, _ORIGIN, row)
                row += table.num_rows

    def fingerprint(self) -> str:
        """SHA-256 of the statement and of a hash over all rows, for which the query runs once."""
        with self._select("count(*) AS n, sum(hash(log)) AS rows") as reader:
            content = reader.read_all().to_pylist()
        return hashlib.sha256(repr((self._sql, content)).encode()).hexdigest()

    def typed(self, needs: Mapping[str, Need]) -> Source:
        """A query knows its types."""
        return self

    def each(self) -> Sequence[Source]:
        """The query itself."""
        return [self]

    @contextmanager
    def _select(self, chosen: str, limit: str = "") -> Iterator[Any]:
        """A reader of record batches."""
        sql = f"SELECT {chosen} FROM ({self._sql}\n) AS log {limit}"  # noqa: S608  # the user's own
        errors = (self._duckdb.ProgrammingError, self._duckdb.NotSupportedError)
        connection = self._duckdb.connect(":memory:")
        try:
            if self._root is not None:
                folder = str(self._root.resolve()).replace("'", "''")
                connection.execute(f"SET file_search_path = '{folder}'")
            relation = connection.sql(sql)
            # Releases before 1.4 call it fetch_arrow_reader.
            read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
            yield read(self._chunk_rows)
        except errors as error:
            raise ConfigError(
                f"duckdb refuses the query: {_line(error)}",
                where=_ORIGIN,
                hint="Write one SELECT statement over files that exist.",
            ) from error
        except (self._duckdb.Error, pa.ArrowException, OSError) as error:
            raise DataError(f"duckdb cannot read on: {_line(error)}", where=_ORIGIN) from error
        finally:
            connection.close()


def _import_duckdb() -> Any:
    try:
        return import_module("duckdb")
    except ImportError as error:
        raise ConfigError(
            "a query needs duckdb, which is not installed",
            hint="Install it: pip install polyrank[sql]",
        ) from error


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
