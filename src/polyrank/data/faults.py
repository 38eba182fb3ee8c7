"""Faults of rows: which rule was broken where, and how all of them are told at once.

Rows of a file count from 0, the header not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.errors import DataError

NUM_EXAMPLES = 5
_MAX_SHOWN = 60


@dataclass(frozen=True)
class Rule:
    """What a value of a column has to be."""

    column: str
    text: str
    """Completes "holds 7.0: ..."."""
    cure: str


@dataclass(frozen=True, eq=False)
class Fault:
    """The rows of one chunk that break one rule."""

    rule: Rule
    rows_K: NDArray[np.int64]
    """Positions in the chunk, ascending."""
    values: pa.Array
    """The K values as the source gave them."""

    def among(self, member_B: NDArray[np.bool_]) -> Fault:
        """Only the rows that ``member_B`` marks."""
        inside_K = member_B[self.rows_K]
        if inside_K.all():
            return self
        return Fault(self.rule, self.rows_K[inside_K], self.values.filter(pa.array(inside_K)))


def broken(rule: Rule, bad_B: NDArray[np.bool_], values: pa.Array) -> list[Fault]:
    """The rows that ``bad_B`` marks as a fault; nothing if there is none."""
    rows_K = np.flatnonzero(bad_B)
    return [Fault(rule, rows_K, values.take(pa.array(rows_K)))] if rows_K.size else []


def python_of(scalar: Any) -> object:
    """The value of a pyarrow scalar, also where Python has no such text or time."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return "(text that is not UTF-8)"
    except (ValueError, OverflowError):
        return scalar.value


def shown(value: object) -> str:
    """A value, short enough for a message."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


@dataclass
class _Tally:
    """All rows of a pass that broke one rule."""

    count: int = 0
    first: tuple[str, int] = ("", 0)
    last: tuple[str, int] = ("", 0)
    examples: list[tuple[str, int, object]] = field(default_factory=list)

    def add(self, origin: str, rows_K: NDArray[np.int64], values: pa.Array) -> None:
        if not self.count:
            self.first = (origin, int(rows_K[0]))
        self.last = (origin, int(rows_K[-1]))
        self.count += len(rows_K)
        for row, value in zip(rows_K, values, strict=False):
            if len(self.examples) == NUM_EXAMPLES:
                break
            self.examples.append((origin, int(row), python_of(value)))

    def where(self, column: str) -> str:
        (first_file, first_row), (last_file, last_row) = self.first, self.last
        if self.first == self.last:
            return f"{first_file}, row {first_row}, column {column!r}"
        if first_file == last_file:
            return f"{first_file}, rows {first_row}-{last_row}, column {column!r}"
        return f"{first_file} row {first_row} to {last_file} row {last_row}, column {column!r}"

    def holds(self) -> str:
        values = ", ".join(dict.fromkeys(shown(value) for _, _, value in self.examples))
        if self.count == 1:
            return f"holds {values}"
        rows = ", ".join(str(row) for _, row, _ in self.examples)
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count} rows ({rows}{more}) hold {values}{more}"


class FaultLog:
    """Counts the faults of a pass by rule, with the first few rows of each."""

    def __init__(self) -> None:
        self._tallies: dict[Rule, _Tally] = {}

    def add(self, faults: Iterable[Fault], *, origin: str, first_row: int) -> None:
        """Count the faults of a chunk that starts at ``first_row`` of ``origin``."""
        for fault in faults:
            if fault.rows_K.size:
                tally = self._tallies.setdefault(fault.rule, _Tally())
                tally.add(origin, fault.rows_K + first_row, fault.values)

    def problems(self) -> tuple[DataError, ...]:
        """One error for each rule that was broken: where, what is there, the rule, the cure."""
        return tuple(
            DataError(
                f"{tally.holds()}: {rule.text}", where=tally.where(rule.column), hint=rule.cure
            )
            for rule, tally in self._tallies.items()
        )


def refuse(message: str, problems: Sequence[DataError], **place: Any) -> DataError:
    """One error of all problems; a single problem stands for itself."""
    if len(problems) == 1:
        return problems[0]
    return DataError(message, problems=tuple(problems), **place)
