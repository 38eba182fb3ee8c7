"""A log, wherever it is, as one stream of tables.

>>> import pyarrow as pa
>>> from polyrank.data.source import open_log
>>> log = open_log(pa.table({"item_id": [3, 4], "click": [0, 1]}))
>>> [chunk.table.num_rows for chunk in log.chunks()]
[2]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polyrank.data.sources.base import CHUNK_ROWS, Chunk, Need, Part, Source
from polyrank.data.sources.csv import CsvFormat
from polyrank.data.sources.files import FileFormat, FileSource
from polyrank.data.sources.ipc import IpcFormat
from polyrank.data.sources.parquet import MAX_DECODED_BYTES, ParquetFormat
from polyrank.data.sources.paths import find_files, format_of
from polyrank.data.sources.query import QuerySource
from polyrank.data.sources.table import TableSource
from polyrank.errors import ConfigError

__all__ = ["Chunk", "Need", "Part", "Source", "open_log", "open_query"]


def open_log(
    log: Any,
    *,
    root: Path | None = None,
    chunk_rows: int = CHUNK_ROWS,
    max_decoded_bytes: int = MAX_DECODED_BYTES,
) -> Source:
    """The source that ``log`` names. No row is read yet.

    Args:
        log: A file, a glob or a folder (its ``*.parquet``, ``*.csv``, ``*.arrow``, ``*.ipc`` or
            ``*.feather``, sorted by name, all of one format), a list of those, or a table of any
            library that speaks Arrow (or a list of tables). A source is handed back.
        root: Folder that relative paths start from; default the working directory.
        chunk_rows: Rows of a chunk at most, at least 1.
        max_decoded_bytes: A Parquet file that decodes to more is refused.

    Raises:
        ConfigError: Nothing is there, or it is no log.
    """
    if isinstance(log, FileSource | TableSource | QuerySource):
        return log
    if chunk_rows < 1:
        raise ConfigError(f"`chunk_rows` must be at least 1, got {chunk_rows}")
    entries = list(log) if isinstance(log, list | tuple) else [log]
    if not entries:
        raise ConfigError("the log is an empty list", hint="Name at least one file or table.")
    if not all(isinstance(entry, str | Path) for entry in entries):
        return TableSource(entries, chunk_rows)
    files = find_files(entries, root)
    formats: dict[str, FileFormat] = {
        "parquet": ParquetFormat(chunk_rows, max_decoded_bytes),
        "csv": CsvFormat(chunk_rows),
        "ipc": IpcFormat(chunk_rows),
    }
    return FileSource(files, formats[format_of(files)])


def open_query(sql: str, *, root: Path | None = None, chunk_rows: int = CHUNK_ROWS) -> Source:
    """The rows of one duckdb SELECT statement, streamed; it runs anew for each pass.

    Args:
        sql: The statement; relative file names in it start from ``root``.
        root: Folder; default the working directory.
        chunk_rows: Rows of a chunk at most.

    Raises:
        ConfigError: duckdb is not installed (extra ``sql``), or refuses the statement.
    """
    return QuerySource(sql, root, chunk_rows)
