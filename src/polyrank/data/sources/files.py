"""A log in files of one format."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import pyarrow as pa

from polyrank.data.faults import Fault, refuse
from polyrank.data.sources.base import Chunk, Need, Part, Source, widest
from polyrank.data.sources.paths import display_names
from polyrank.errors import DataError


@dataclass(frozen=True)
class FileFacts:
    """What is known of a file before its rows are read."""

    schema: pa.Schema
    num_rows: int | None
    footer: str = ""
    """A hash of what the format says about itself, where that is cheap to have."""


class FileFormat(Protocol):
    """How files of one format are read. Any method raises ``DataError`` on a damaged file."""

    def inspect(self, path: Path, origin: str) -> FileFacts:
        """Schema and size, without reading rows."""
        ...

    def tables(
        self, path: Path, origin: str, columns: Sequence[str] | None
    ) -> Iterator[tuple[pa.Table, tuple[Fault, ...]]]:
        """The rows in order, with what could not be read as its type."""
        ...

    def typed(self, paths: Sequence[Path], needs: Mapping[str, Need]) -> Self:
        """The format with its untyped columns read as needed."""
        ...


class FileSource(Source):
    """Files of one format, one after the other."""

    def __init__(
        self, paths: Sequence[Path], format_: FileFormat, origins: Sequence[str] | None = None
    ) -> None:
        self._paths = tuple(paths)
        self._origins = display_names(paths) if origins is None else list(origins)
        self._format = format_
        self._stamps = [_stamp(path) for path in paths]
        self._facts: list[FileFacts] | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files in reading order."""
        return self._paths

    def schema(self) -> pa.Schema:
        """Columns and their types; where files differ, the widest type of all."""
        return widest([facts.schema for facts in self._inspected()])

    def parts(self) -> Sequence[Part]:
        """The files in reading order."""
        return [
            Part(origin, facts.schema, facts.num_rows)
            for origin, facts in zip(self._origins, self._inspected(), strict=True)
        ]

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        """The rows in order, file by file; a file that changed since it was opened is refused."""
        for path, origin, stamp in zip(self._paths, self._origins, self._stamps, strict=True):
            row = 0
            for table, faults in self._format.tables(path, origin, columns):
                yield Chunk(table, origin, row, faults)
                row += table.num_rows
            if _stamp(path) != stamp:
                raise DataError(
                    "was changed while it was being read",
                    where=origin,
                    hint="Start again when nothing writes to the log any more.",
                )

    def fingerprint(self) -> str:
        """SHA-256 over names, sizes, times of change and, for Parquet, footers."""
        digest = hashlib.sha256()
        for path, stamp, facts in zip(self._paths, self._stamps, self._inspected(), strict=True):
            digest.update(repr((path.name, stamp, facts.footer)).encode())
        return digest.hexdigest()

    def typed(self, needs: Mapping[str, Need]) -> Source:
        """The same files, untyped columns read as needed."""
        return FileSource(self._paths, self._format.typed(self._paths, needs), self._origins)

    def each(self) -> Sequence[Source]:
        """One source a file."""
        return [
            FileSource([path], self._format, [origin])
            for path, origin in zip(self._paths, self._origins, strict=True)
        ]

    def _inspected(self) -> list[FileFacts]:
        if self._facts is None:
            self._facts = self._inspect_all()
        return self._facts

    def _inspect_all(self) -> list[FileFacts]:
        facts: list[FileFacts] = []
        problems: list[DataError] = []
        for path, origin in zip(self._paths, self._origins, strict=True):
            try:
                facts.append(self._format.inspect(path, origin))
            except DataError as error:
                problems.append(error)
        if problems:
            raise refuse(f"{len(problems)} files cannot be read", problems)
        return facts


def unreadable(origin: str, what: str, error: Exception, row: int | None = None) -> DataError:
    """The error for a damaged file, with what the reader said, on one line."""
    reason = " ".join(str(error).split()) or type(error).__name__
    where = origin if row is None else f"{origin}, after row {row}"
    return DataError(
        f"cannot be read as {what}: {reason[:300]}",
        where=where,
        hint="The file is damaged or incomplete: write it again, or leave it out.",
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found: Any = path.stat()
    except OSError as error:
        raise DataError(f"cannot be opened: {error.strerror}", where=path.name) from error
    return found.st_size, found.st_mtime_ns
