"""Writing a stream of tables as one Parquet file: all of it or nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from polyrank.errors import DataError, StorageError
from polyrank.storage.targets import check_file


def write_parquet(tables: Iterator[pa.Table], out: Path, *, replace: bool) -> int:
    """Write ``tables`` beside ``out``, sync, and rename.

    Returns:
        The number of rows.

    Raises:
        ConfigError: ``out`` exists, and ``replace`` is not set or it is no Parquet file.
        DataError: There is no table.
        StorageError: The disk refused; what was there before is intact.
    """
    check_file(out, kind="Parquet", replace=replace)
    temporary = out.with_name(f".tmp-{out.name}-{os.getpid()}")
    try:
        rows = _write(tables, temporary)
        temporary.replace(out)
    except OSError as error:
        raise StorageError(
            f"cannot be written: {error.strerror or error}",
            where=out.name,
            hint="Free space, or choose a folder that can be written to.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return rows


def _write(tables: Iterator[pa.Table], path: Path) -> int:
    first = next(tables, None)
    if first is None:
        raise DataError("there are no rows to write")
    rows: int = first.num_rows
    with path.open("wb") as file:
        with pq.ParquetWriter(
            file, first.schema, compression="zstd", write_page_checksum=True
        ) as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)
                rows += table.num_rows
        file.flush()
        os.fsync(file.fileno())
    return rows
