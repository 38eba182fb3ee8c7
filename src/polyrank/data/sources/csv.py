"""CSV files: UTF-8, a header, commas, quotes where needed; typed by what a column is used as."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.csv as pv

from polyrank.data.faults import Fault, refuse, shown
from polyrank.data.sources.base import CHUNK_ROWS, Need
from polyrank.data.sources.files import FileFacts, unreadable
from polyrank.data.sources.rechunk import rechunk
from polyrank.data.sources.text import convert, settle, sniff
from polyrank.errors import DataError

_BLOCK = 2**22
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DAMAGE = (pa.ArrowException, OSError, ValueError)


class CsvFormat:
    """Reads every column as text and converts it itself, so that a bad value is a bad row.

    The type of a column is the one that the first 4 MiB of each file show (see ``text.sniff``).
    """

    def __init__(
        self,
        chunk_rows: int = CHUNK_ROWS,
        needs: Mapping[str, Need] | None = None,
        dtypes: Mapping[str, Any] | None = None,
    ) -> None:
        self._chunk_rows = chunk_rows
        self._needs = dict(needs or {})
        self._dtypes = dtypes

    def inspect(self, path: Path, origin: str) -> FileFacts:
        """From the first block; from the header alone, once the types are settled."""
        names = _header(path, origin)[0]
        if self._dtypes is not None and all(name in self._dtypes for name in names):
            return FileFacts(pa.schema([(name, self._dtypes[name]) for name in names]), None)
        first = next(_texts(path, origin), None)
        if first is None:
            first = pa.table([pa.array([], pa.large_string()) for _ in names], names=names)
        needs = [self._needs.get(name) for name in names]
        dtypes = [sniff(first.column(i).combine_chunks(), need) for i, need in enumerate(needs)]
        return FileFacts(pa.schema(list(zip(names, dtypes, strict=True))), None)

    def tables(
        self, path: Path, origin: str, columns: Sequence[str] | None
    ) -> Iterator[tuple[pa.Table, tuple[Fault, ...]]]:
        """Tables of the column types; texts that are no such value are null and a fault."""
        facts = self.inspect(path, origin)
        names = list(facts.schema.names if columns is None else columns)
        for texts in rechunk(_texts(path, origin), self._chunk_rows):
            yield self._converted(texts.select(names), facts.schema)

    def typed(self, paths: Sequence[Path], needs: Mapping[str, Need]) -> Self:
        """Types settled over all files, by what the columns will be used as."""
        asked = type(self)(self._chunk_rows, needs)
        problems: list[DataError] = []
        found: dict[str, list[Any]] = {}
        for path in paths:
            try:
                schema = asked.inspect(path, path.name).schema
            except DataError as error:
                problems.append(error)
                continue
            for field in schema:
                found.setdefault(field.name, []).append(field.type)
        if problems:
            raise refuse(f"{len(problems)} files cannot be read", problems)
        settled = {name: settle(dtypes, needs.get(name)) for name, dtypes in found.items()}
        return type(self)(self._chunk_rows, needs, settled)

    def _converted(self, texts: Any, schema: Any) -> tuple[pa.Table, tuple[Fault, ...]]:
        columns, faults = [], []
        for name in texts.schema.names:
            need = self._needs.get(name)
            values, found = convert(
                texts.column(name).combine_chunks(),
                schema.field(name).type,
                name,
                need.missing if need else (),
            )
            columns.append(values)
            faults.extend(found)
        return pa.table(columns, names=texts.schema.names), tuple(faults)


def _texts(path: Path, origin: str) -> Iterator[pa.Table]:
    """All rows as text, null where empty."""
    names, has_rows = _header(path, origin)
    if not has_rows:
        return
    row = 0
    ragged: list[Any] = []

    def refuse_ragged(found: Any) -> str:
        ragged.append(found)
        return "error"

    try:
        for batch in _open(path, names, refuse_ragged):
            yield pa.table(batch)
            row += batch.num_rows
    except _DAMAGE as error:
        if ragged:
            raise _ragged(ragged[0], origin) from error
        raise unreadable(origin, "CSV", error, row) from error


def _open(path: Path, names: Sequence[str], on_ragged: Any) -> Any:
    return pv.open_csv(
        path,
        read_options=pv.ReadOptions(use_threads=False, block_size=_BLOCK),
        parse_options=pv.ParseOptions(newlines_in_values=True, invalid_row_handler=on_ragged),
        convert_options=pv.ConvertOptions(
            column_types={name: pa.large_string() for name in names},
            strings_can_be_null=True,
            null_values=[""],
        ),
    )


def _header(path: Path, origin: str) -> tuple[list[str], bool]:
    """The column names, and whether a row follows them."""
    try:
        with path.open("rb") as raw:
            if raw.read(2) in _UTF16:
                raise ValueError("it is UTF-16; save it as UTF-8")
        with path.open(encoding="utf-8-sig", newline="") as text:
            rows = (row for row in csv.reader(text, strict=True) if row)
            names = next(rows, None)
            if names is None:
                raise ValueError("it is empty, without even a header")
            has_rows = any(line.strip() for line in text)
    except (OSError, ValueError, csv.Error) as error:
        raise unreadable(origin, "CSV", error) from error
    _refuse_separator(names, origin)
    return names, has_rows


def _refuse_separator(names: Sequence[str], origin: str) -> None:
    """Refuse a header that some other character than the comma divides."""
    for mark, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(names) == 1 and mark in names[0]:
            raise DataError(
                f"its columns are divided by {word}: {shown(names[0])}",
                where=origin,
                hint="Write it with commas, or as Parquet.",
            )


def _ragged(row: Any, origin: str) -> DataError:
    return DataError(
        f"has {row.actual_columns} values where the header has {row.expected_columns}: "
        f"{shown(row.text)}",
        where=f"{origin}, line {row.number}",
        hint="Quote values that hold commas or line breaks; write every column in every row.",
    )
