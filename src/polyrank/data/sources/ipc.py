"""Arrow IPC files and streams (Feather version 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from polyrank.data.faults import Fault
from polyrank.data.sources.base import CHUNK_ROWS, Need
from polyrank.data.sources.files import FileFacts, unreadable
from polyrank.data.sources.rechunk import rechunk

_MAGIC = b"ARROW1"
_FEATHER_1 = b"FEA1"
_DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, LookupError)


class IpcFormat:
    """Reads record batches one by one, each checked before it is used: IPC has no checksum."""

    def __init__(self, chunk_rows: int = CHUNK_ROWS) -> None:
        self._chunk_rows = chunk_rows

    def inspect(self, path: Path, origin: str) -> FileFacts:
        """From the schema message; a file (not a stream) also tells its number of rows."""
        try:
            with _opened(path) as (schema, _, num_rows):
                return FileFacts(schema, num_rows)
        except _DAMAGE as error:
            raise unreadable(origin, "Arrow", error) from error

    def tables(
        self, path: Path, origin: str, columns: Sequence[str] | None
    ) -> Iterator[tuple[pa.Table, tuple[Fault, ...]]]:
        """Contiguous tables."""
        row = 0
        try:
            with _opened(path) as (schema, batches, _):
                names = list(schema.names if columns is None else columns)
                for table in rechunk(_checked(batches, names), self._chunk_rows):
                    yield table, ()
                    row += table.num_rows
        except _DAMAGE as error:
            raise unreadable(origin, "Arrow", error, row) from error

    def typed(self, paths: Sequence[Path], needs: Mapping[str, Need]) -> Self:
        """Arrow knows its types."""
        return self


def _checked(batches: Iterator[Any], names: list[str]) -> Iterator[pa.Table]:
    for batch in batches:
        table = pa.table(batch).select(names)
        table.validate(full=True)
        yield table


@contextmanager
def _opened(path: Path) -> Iterator[tuple[pa.Schema, Iterator[Any], int | None]]:
    """Schema, record batches and number of rows."""
    with path.open("rb") as file:
        magic = file.read(len(_MAGIC))
        file.seek(0)
        if magic.startswith(_FEATHER_1):
            raise ValueError("it is Feather version 1; write version 2")
        if magic == _MAGIC:
            reader = pa.ipc.open_file(file)
            places = range(reader.num_record_batches)
            batches = (reader.get_batch(place) for place in places)
            yield reader.schema, batches, reader.count_rows()
        else:
            stream = pa.ipc.open_stream(file)
            yield stream.schema, iter(stream), None
