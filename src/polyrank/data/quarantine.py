"""The quarantine: refused rows, set aside with the reason, so that they can be mended."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from polyrank.data.arrays import is_text, plain, plain_type
from polyrank.data.faults import Fault, python_of, shown
from polyrank.errors import ConfigError
from polyrank.storage.failures import storage_errors

FILE_NAME = "quarantine.parquet"
_FLUSH_ROWS = 16_384
_PART = "quarantine_part"
_REASONS = (
    (_PART, pa.large_string()),
    ("quarantine_file", pa.large_string()),
    ("quarantine_row", pa.int64()),
    ("quarantine_column", pa.large_string()),
    ("quarantine_value", pa.large_string()),
    ("quarantine_rule", pa.large_string()),
)


class Quarantine:
    """Where refused rows go, and how many may.

    The file has a row for each refused row: part, file, row (from 0), column, value and rule in
    ``quarantine_*``, then the columns of the log that were read. Where a row breaks more than one
    rule, column and value are those of the first. Reading a part again replaces its rows.

    Args:
        path: The Parquet file; None keeps no rows, and only ``max_share`` counts.
        max_share: Share of the rows of a part that may be refused before the part is, in [0, 1].
        setting: What a user sets it by.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        max_share: float = 0.0,
        setting: str = "data.max_quarantine_share",
    ) -> None:
        if not 0.0 <= max_share <= 1.0:
            raise ConfigError(
                f"`max_share` must lie in [0, 1], got {max_share}",
                where=setting,
            )
        self.path = path
        self.max_share = max_share
        self.setting = setting

    def begin(self, part: str, schema: Any) -> QuarantinePass:
        """Start a pass over ``part``, whose rows have the columns of ``schema``."""
        return QuarantinePass(self.path, part, schema)


class QuarantinePass:
    """The refused rows of one pass; at most ``_FLUSH_ROWS`` of them are in memory."""

    def __init__(self, path: Path | None, part: str, schema: Any) -> None:
        self._path = path
        self._part = part
        columns = [(field.name, plain_type(field.type)) for field in schema]
        self._schema = pa.schema([*_REASONS, *columns])
        self._waiting: list[pa.Table] = []
        self._writer: Any = None
        self.num_rows = 0

    def add(
        self,
        rows: pa.Table,
        origin: str,
        row_K: NDArray[np.int64],
        first_row: int,
        faults: Sequence[Fault],
    ) -> None:
        """Set aside the K rows of a chunk.

        Args:
            rows: The K rows as the source gave them.
            origin: Their file.
            row_K: Their places in the chunk.
            first_row: Place of the chunk in the file.
            faults: What is wrong with them.
        """
        self.num_rows += rows.num_rows
        if self._path is None:
            return
        reasons = _reasons(row_K, faults)
        head = [
            pa.array([self._part] * len(row_K), pa.large_string()),
            pa.array([origin] * len(row_K), pa.large_string()),
            pa.array(row_K + first_row),
            *(pa.array(column, pa.large_string()) for column in zip(*reasons, strict=True)),
        ]
        body = [
            _readable(plain(rows.column(field.name))).cast(field.type, safe=False)
            for field in list(self._schema)[len(_REASONS) :]
        ]
        self._waiting.append(pa.table([*head, *body], schema=self._schema))
        if sum(table.num_rows for table in self._waiting) >= _FLUSH_ROWS:
            self._flush()

    def commit(self) -> None:
        """Write the file anew: these rows, and those it holds of other parts."""
        if self._path is None:
            return
        self._flush()
        for table in self._kept():
            self._write(table)
        with storage_errors("write the quarantine", self._path.name):
            if self._writer is None:
                self._path.unlink(missing_ok=True)
                return
            self._writer.close()
            self._temporary.replace(self._path)
            self._writer = None

    def abandon(self) -> None:
        """Forget the pass; the file stays as it was."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
            self._temporary.unlink(missing_ok=True)
            self._writer = None

    @property
    def _temporary(self) -> Path:
        assert self._path is not None
        return self._path.with_name(f".{self._path.name}-{os.getpid()}.tmp")

    def _flush(self) -> None:
        if self._waiting:
            self._write(pa.concat_tables(self._waiting))
            self._waiting = []

    def _write(self, table: pa.Table) -> None:
        with storage_errors("write the quarantine", self._temporary.name):
            if self._writer is None:
                self._temporary.parent.mkdir(parents=True, exist_ok=True)
                self._writer = pq.ParquetWriter(
                    self._temporary, self._schema, write_page_checksum=True
                )
            self._writer.write_table(table)

    def _kept(self) -> Iterator[pa.Table]:
        """The rows of other parts that the file holds; none if its columns are not these."""
        assert self._path is not None
        if not self._path.exists():
            return
        try:
            with pq.ParquetFile(self._path, page_checksum_verification=True) as old:
                if old.schema_arrow.equals(self._schema):
                    for batch in old.iter_batches(_FLUSH_ROWS):
                        kept = batch.filter(pc.not_equal(batch.column(_PART), self._part))
                        if kept.num_rows:
                            yield pa.table(kept)
        except pa.ArrowInvalid:
            return


def _readable(array: Any) -> Any:
    """The array, its text as far as it can be decoded; lists with other text as null."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        if not is_text(array.type):
            return pa.nulls(len(array), array.type)
        raw = array.view(pa.large_binary()).to_pylist()
        texts = [None if value is None else value.decode("utf-8", "replace") for value in raw]
        return pa.array(texts, array.type)
    return array


def _reasons(row_K: NDArray[np.int64], faults: Sequence[Fault]) -> list[tuple[str, str, str]]:
    """Column, value and rule for each row."""
    found: dict[int, tuple[str, str, str]] = {}
    for fault in faults:
        rule = fault.rule
        for row, value in zip(fault.rows_K.tolist(), fault.values, strict=True):
            if row in found:
                column, first, told = found[row]
                found[row] = (column, first, f"{told}; column {rule.column!r}: {rule.text}")
            else:
                found[row] = (rule.column, shown(python_of(value)), rule.text)
    return [found[row] for row in row_K.tolist()]
