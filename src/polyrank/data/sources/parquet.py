"""Parquet files: page checksums verified, memory bounded whatever the footer declares."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from polyrank.data.faults import Fault
from polyrank.data.sources.base import CHUNK_ROWS, Need
from polyrank.data.sources.files import FileFacts, unreadable
from polyrank.data.sources.parquet_width import (
    Leaf,
    declared_bytes,
    leaves_of,
    longest_strings,
    row_bytes,
)
from polyrank.data.sources.rechunk import rechunk
from polyrank.errors import DataError

MAX_DECODED_BYTES = 2**36
"""A file that decodes to more is refused."""
MAX_EXPANSION = 1000
"""So is one that decodes to more than so many times its size, and to more than a GiB."""
_SMALL = 2**30
_CHUNK_BYTES = 2**27
_BUFFER = 2**20
_DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, LookupError)


class ParquetFormat:
    """Reads Parquet by row group and page.

    Args:
        chunk_rows: Rows of a chunk at most.
        max_decoded_bytes: A file that decodes to more is refused.
    """

    def __init__(
        self, chunk_rows: int = CHUNK_ROWS, max_decoded_bytes: int = MAX_DECODED_BYTES
    ) -> None:
        self._chunk_rows = chunk_rows
        self._max_decoded_bytes = max_decoded_bytes

    def inspect(self, path: Path, origin: str) -> FileFacts:
        """From the footer alone."""
        try:
            with _open(path) as file:
                metadata = file.metadata
                self._refuse_bomb(declared_bytes(metadata, file.schema_arrow), path, origin)
                return FileFacts(file.schema_arrow, metadata.num_rows, _footer_hash(path))
        except DataError:
            raise
        except _DAMAGE as error:
            raise unreadable(origin, "Parquet", error) from error

    def tables(
        self, path: Path, origin: str, columns: Sequence[str] | None
    ) -> Iterator[tuple[pa.Table, tuple[Fault, ...]]]:
        """Contiguous tables; a page whose checksum is wrong is refused."""
        row = decoded = 0
        try:
            with _open(path) as file:
                for table in rechunk(self._batches(path, file, columns), self._chunk_rows):
                    decoded += table.nbytes
                    self._refuse_bomb(decoded, path, origin)
                    yield table, ()
                    row += table.num_rows
                if row != file.metadata.num_rows:
                    raise ValueError(f"the footer declares {file.metadata.num_rows} rows")
        except DataError:
            raise
        except _DAMAGE as error:
            raise unreadable(origin, "Parquet", error, row) from error

    def typed(self, paths: Sequence[Path], needs: Mapping[str, Need]) -> Self:
        """Parquet knows its types."""
        return self

    def _batches(self, path: Path, file: Any, columns: Sequence[str] | None) -> Iterator[Any]:
        names = list(file.schema_arrow.names if columns is None else columns)
        leaves = leaves_of(file.metadata, file.schema_arrow, names)
        for place in range(file.num_row_groups):
            group = file.metadata.row_group(place)
            width = row_bytes(group, leaves, _longest_strings(path, place, leaves))
            rows = max(1, min(self._chunk_rows, int(_CHUNK_BYTES / max(width, 1.0))))
            for batch in file.iter_batches(
                rows, row_groups=[place], columns=names, use_threads=False
            ):
                yield pa.table(batch).select(names)

    def _refuse_bomb(self, decoded: int, path: Path, origin: str) -> None:
        size = path.stat().st_size
        cap = min(self._max_decoded_bytes, max(_SMALL, MAX_EXPANSION * size))
        if decoded > cap:
            raise DataError(
                f"its {size} bytes decode to {decoded} or more, and {cap} are allowed",
                where=origin,
                hint="If that is meant, split the file, or raise `max_decoded_bytes`.",
            )


def _open(path: Path, **options: Any) -> Any:
    return pq.ParquetFile(
        path, page_checksum_verification=True, buffer_size=_BUFFER, pre_buffer=False, **options
    )


def _longest_strings(path: Path, group: int, leaves: Sequence[Leaf]) -> dict[str, int]:
    """By column, from the dictionaries of a row group: its first row, read as such.

    All columns that the schema does not bound are read, so that a damaged footer shows here.
    """
    columns = list(dict.fromkeys(leaf.column for leaf in leaves if leaf.is_open))
    if not columns:
        return {}
    with _open(path, read_dictionary=[leaf.path for leaf in leaves if leaf.is_text]) as file:
        batches = file.iter_batches(1, row_groups=[group], columns=columns, use_threads=False)
        first_row = next(iter(batches), None)
    return {} if first_row is None else longest_strings(first_row)


def _footer_hash(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, os.SEEK_END)
        return hashlib.sha256(file.read(length)).hexdigest()
