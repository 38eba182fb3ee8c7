"""One chunk of a log in the types handed on, with every row that breaks a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.age_checks import AgeCheck
from polyrank.data.casts import cast
from polyrank.data.checks import Check
from polyrank.data.faults import Fault
from polyrank.data.preflight import Column
from polyrank.data.sources.base import Chunk


def canonical_table(chunk: Chunk, columns: Mapping[str, Column]) -> tuple[pa.Table, list[Fault]]:
    """The columns of a chunk in the types handed on; what could not be cast is null and a fault."""
    arrays = []
    faults = [fault for fault in chunk.faults if fault.rule.column in columns]
    for name, column in columns.items():
        array, found = cast(chunk.table.column(name), column.wanted, column.dtype)
        arrays.append(array)
        faults.extend(found)
    return pa.table(arrays, names=list(columns)), faults


def rule_faults(
    table: pa.Table,
    raw: pa.Table,
    checks: Sequence[Check | AgeCheck],
    found: Sequence[Fault],
) -> list[Fault]:
    """What the rules find, beside ``found``: a value already at fault is not told twice."""
    known: dict[str, NDArray[np.bool_]] = {}
    for fault in found:
        bad_B = known.setdefault(fault.rule.column, np.zeros(table.num_rows, dtype=np.bool_))
        bad_B[fault.rows_K] = True
    faults: list[Fault] = []
    for check in checks:
        for fault in check.faults(table, raw):
            column = fault.rule.column
            rest = fault.among(~known[column]) if column in known else fault
            if rest.rows_K.size:
                faults.append(rest)
    return faults


def bad_rows(faults: Sequence[Fault], num_rows: int) -> NDArray[np.bool_]:
    """Rows with at least one fault."""
    bad_B = np.zeros(num_rows, dtype=np.bool_)
    for fault in faults:
        bad_B[fault.rows_K] = True
    return bad_B
