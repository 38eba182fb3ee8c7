"""Of a log of what was served, the rows that somebody saw.

>>> import pyarrow as pa
>>> from polyrank.data import open_log
>>> log = pa.table({"item": [7, 9], "served_shown": [True, False]})
>>> seen = shown(open_log(log))
>>> [chunk.table["item"].to_pylist() for chunk in seen.chunks(["item"])], not_shown(open_log(log))
([[7]], 1)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from polyrank.data import Chunk, Source
from polyrank.data.sources.base import Need, Part

SHOWN = "served_shown"
"""The column that is false of candidates that were ranked and not answered."""


def shown(source: Source) -> Source:
    """The log without what nobody saw; a log that does not say so (in a boolean column) is whole.

    A candidate that was not shown has no outcome: whatever stands in its labels is none, and its
    predictions are of rows that were found worse. Only estimates of other rankings need it.
    """
    return Shown(source) if _is_told(source) else source


def not_shown(source: Source) -> int:
    """How many rows ``shown`` leaves out; one column is read."""
    if not _is_told(source):
        return 0
    return sum(int(pc.sum(_unseen(chunk.table)).as_py() or 0) for chunk in source.chunks([SHOWN]))


class Shown(Source):
    """The rows that were shown. Rows are numbered as if there were no others.

    Args:
        source: A log with a boolean column ``SHOWN``.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def schema(self) -> pa.Schema:
        """Columns and their types."""
        return self._source.schema()

    def parts(self) -> Sequence[Part]:
        """The parts; how many rows of them were shown, only reading tells."""
        return [replace(part, num_rows=None) for part in self._source.parts()]

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        """The rows in order."""
        asked = columns if columns is None or SHOWN in columns else [*columns, SHOWN]
        origin, row = None, 0
        for chunk in self._source.chunks(asked):
            table = chunk.table.filter(pc.invert(_unseen(chunk.table)))
            row = row if chunk.origin == origin else 0
            origin = chunk.origin
            if table.num_rows:
                yield Chunk(table if columns is None else table.select(list(columns)), origin, row)
                row += table.num_rows

    def fingerprint(self) -> str:
        """Of the whole log."""
        return self._source.fingerprint()

    def typed(self, needs: Mapping[str, Need]) -> Source:
        """What has a boolean column has types."""
        return self

    def each(self) -> Sequence[Source]:
        """The parts, each by itself."""
        return [shown(part) for part in self._source.each()]


def _is_told(source: Source) -> bool:
    schemas = [part.schema for part in source.parts()]
    return all(SHOWN in s.names and pa.types.is_boolean(s.field(SHOWN).type) for s in schemas)


def _unseen(table: pa.Table) -> pa.ChunkedArray:
    """True where a row is known not to have been shown."""
    return pc.fill_null(pc.invert(table[SHOWN]), False)
