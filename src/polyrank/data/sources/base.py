"""What every source of a log offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pyarrow as pa

from polyrank.data.faults import Fault

CHUNK_ROWS = 65_536
"""Rows of a chunk at most."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of a log, in order."""

    table: pa.Table
    origin: str
    """The file they come from, or "query" or "table"."""
    first_row: int
    """Place of the first one in its origin, from 0; a header is not counted."""
    faults: tuple[Fault, ...] = ()
    """Values that the source could not read as the column's type; the table holds null there."""


@dataclass(frozen=True)
class Part:
    """One file (or table, or query) of a log, before a row of it is read."""

    origin: str
    schema: pa.Schema
    num_rows: int | None
    """None where only reading tells."""


@dataclass(frozen=True)
class Need:
    """What a column will be used as; sources without types (CSV) read it accordingly.

    ``id``: int64 if every value looked at is a whole number, else text. ``number``: float64, or
    boolean. ``time``: int64, a date or a timestamp. ``text``: as it stands.
    """

    kind: Literal["id", "number", "time", "text"]
    missing: tuple[str, ...] = ()
    """Texts that stand for missing, beside the empty one."""


class Source(Protocol):
    """A log that can be read any number of times, in bounded memory."""

    def schema(self) -> pa.Schema:
        """Columns and their types; where parts differ, the widest type of all."""
        ...

    def parts(self) -> Sequence[Part]:
        """The files of the log, in the order in which they are read.

        Raises:
            DataError: Files that cannot be read, all at once.
        """
        ...

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        """The rows in order, some thousands at a time; only ``columns``, if given.

        Raises:
            DataError: A file that is damaged, or was changed since it was opened.
        """
        ...

    def fingerprint(self) -> str:
        """Changes when the log does."""
        ...

    def typed(self, needs: Mapping[str, Need]) -> Source:
        """The same log, its untyped columns read as what they will be used as."""
        ...

    def each(self) -> Sequence[Source]:
        """One source for each part, so that a damaged one does not hide the others."""
        ...


def widest(schemas: Sequence[Any]) -> Any:
    """One schema for parts that may differ: the widest type of each column, else text."""
    if all(schema.equals(schemas[0]) for schema in schemas[1:]):
        return schemas[0]
    fields: dict[str, Any] = {}
    for schema in schemas:
        for field in schema:
            fields[field.name] = _wider(fields.get(field.name), field)
    return pa.schema(fields.values())


def _wider(one: Any, other: Any) -> Any:
    if one is None or one.type == other.type:
        return other
    try:
        return pa.unify_schemas(
            [pa.schema([one]), pa.schema([other])], promote_options="permissive"
        ).field(0)
    except pa.ArrowException:
        return pa.field(other.name, pa.large_string())
