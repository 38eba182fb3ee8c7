"""A log on disk: Parquet with page checksums, complete or not there."""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from polyrank.errors import ConfigError
from polyrank.storage.failures import storage_errors
from polyrank.storage.targets import check_file

_DAY_MS = 86_400_000


def write_log(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> tuple[Path, ...]:
    """Write ``tables`` under a temporary name, sync, and rename.

    Args:
        path: One file if its name ends in ``.parquet``, else a directory of one file a UTC day.
        tables: Rows in order of ``time_ms``.
        schema: Of every table.

    Returns:
        The files, in order of time.

    Raises:
        ConfigError: ``path`` is a directory that is not empty, or stands where one must be.
        StorageError: The disk refuses; nothing is left behind.
    """
    is_file = path.suffix == ".parquet"
    _check_target(path, is_file=is_file)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        with storage_errors("write the log", path.name):
            path.parent.mkdir(parents=True, exist_ok=True)
            names = _write(temporary, tables, schema, is_file=is_file)
            temporary.replace(path)
            _sync(path.parent)
    finally:
        _discard(temporary)
    return (path,) if is_file else tuple(path / name for name in names)


def _check_target(path: Path, *, is_file: bool) -> None:
    if is_file and path.is_dir():
        raise ConfigError(
            f"{path.name!r} is a directory", hint="name a file, or drop the `.parquet`"
        )
    if is_file:
        check_file(path, kind="Parquet", replace=True)
    if not is_file and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ConfigError(
            f"{path.name!r} exists and is not an empty directory",
            hint="choose another name, delete it, or end the name in `.parquet` for one file",
        )


def _write(
    temporary: Path, tables: Iterable[pa.Table], schema: pa.Schema, *, is_file: bool
) -> list[str]:
    if is_file:
        _write_files(((temporary, table) for table in tables), schema)
        return []
    temporary.mkdir()
    parts = ((temporary / f"{day}.parquet", rows) for day, rows in _split_days(tables))
    names = _write_files(parts, schema)
    _sync(temporary)
    return names


def _write_files(parts: Iterable[tuple[Path, pa.Table]], schema: pa.Schema) -> list[str]:
    """Write each table to its file; the tables of a file stand together."""
    names: list[str] = []
    writer, stack = None, ExitStack()
    with stack:
        for target, table in parts:
            if writer is None or names[-1] != target.name:
                stack.close()
                names.append(target.name)
                writer = _open(target, schema, stack)
            writer.write_table(table)
    return names


def _open(target: Path, schema: pa.Schema, stack: ExitStack) -> pq.ParquetWriter:
    """A writer that ``stack`` closes and syncs."""
    handle = stack.enter_context(target.open("xb"))
    stack.callback(lambda: os.fsync(handle.fileno()))
    options = {"compression": "zstd", "write_page_checksum": True}
    return stack.enter_context(pq.ParquetWriter(handle, schema, **options))


def _split_days(tables: Iterable[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    """The tables cut where the UTC day changes, with the name of the day."""
    for table in tables:
        day = table.column("time_ms").to_numpy() // _DAY_MS
        starts = np.flatnonzero(np.diff(day, prepend=day[0] - 1))
        for start, stop in zip(starts, [*starts[1:], len(day)], strict=True):
            date = datetime.date(1970, 1, 1) + datetime.timedelta(days=int(day[start]))
            yield date.isoformat(), table.slice(start, stop - start)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(temporary: Path) -> None:
    """Remove what is left of a failed write, as far as the disk allows."""
    with suppress(OSError):
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
