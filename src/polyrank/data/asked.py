"""The rows of one request, checked as a log's are, the user's columns once.

>>> import pyarrow as pa
>>> from polyrank.schema import Binary, Categorical, Numeric, Schema
>>> schema = Schema(
...     features=(Numeric(name="age", side="user"), Categorical(name="item", side="item")),
...     tasks=(Binary(name="click"),),
... )
>>> user, rows = AskedRows(schema).read(pa.table({"age": [30]}), pa.table({"item": [7, 8]}))
>>> user["age"].to_pylist(), rows["item"].to_pylist()
([30.0], [7, 8])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from polyrank.data.age_checks import AgeCheck
from polyrank.data.arrays import is_list
from polyrank.data.canonical import rule_faults
from polyrank.data.casts import cast
from polyrank.data.checks import Check
from polyrank.data.encoding.ready import ReadyRows
from polyrank.data.faults import Fault, FaultLog, refuse
from polyrank.data.join import join_of
from polyrank.data.plan import Request, try_plan
from polyrank.data.preflight import Column
from polyrank.data.rules import Rules, rules_of
from polyrank.data.source import open_log
from polyrank.errors import DataError
from polyrank.schema import Schema

MAX_PLANS = 256
"""Sets of columns and types that are remembered."""
_HALVES = ("user", "candidates")
_READY = (pa.null(), pa.int64(), pa.float64(), pa.large_list(pa.int64()))
"""Types of which ``cast`` hands on every value as it is, where none stands for missing."""
_TEXTS = (pa.large_string(), pa.large_list(pa.large_string()))
"""And those that have to be UTF-8."""
Beside = tuple[ReadyRows, frozenset[str]]
"""Columns of a side table that are encoded already."""
_Signature = tuple[tuple[str, ...], bytes, bytes, tuple[Beside, ...]]


@dataclass(frozen=True)
class _Read:
    """A column of a half: where it stands, and what is done with it."""

    place: int
    column: Column
    ready: bool
    """It is handed on as it is."""
    text: bool
    """It is, if it is UTF-8."""


@dataclass(frozen=True)
class _Half:
    """What is done with the user's columns or the rows', of certain names and types."""

    origin: str
    names: tuple[str, ...]
    reads: tuple[_Read, ...]
    checks: tuple[Check | AgeCheck, ...]

    def checked(self, raw: pa.Table, log: FaultLog) -> pa.Table:
        """The columns in the types handed on; what breaks a rule is told."""
        arrays, faults = [], []
        for each in self.reads:
            array, found = _cast(raw.column(each.place), each)
            arrays.append(array)
            faults += found
        # Rows without any column are so many rows.
        table = pa.Table.from_arrays(arrays, names=self.names) if arrays else raw.select([])
        faults += rule_faults(table, raw, self.checks, faults)
        log.add(faults, origin=self.origin, first_row=0)
        return table


class AskedRows:
    """Reads requests by the rules by which a ``Reader`` reads a log to be scored.

    Any number of threads may read at once.

    Args:
        schema: What the columns mean; its side tables are not joined: all columns are given.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema.model_copy(update={"tables": ()})
        self._plans: dict[_Signature, tuple[_Half, ...]] = {}

    def read(
        self,
        user: pa.Table,
        rows: pa.Table,
        extra: Sequence[str] = (),
        *,
        beside: Sequence[Beside] = (),
    ) -> tuple[pa.Table, pa.Table]:
        """Both tables in the types handed on.

        Args:
            user: One row: what all of ``rows`` share.
            rows: The candidates; no column of ``user``.
            extra: Further columns of either to hand on as they are.
            beside: Columns that neither table has, and that are read from here.

        Raises:
            DataError: A column is missing, twice there or of a wrong type, or a value breaks a
                rule; everything at once.
        """
        log = FaultLog()
        halves = self._planned(user.schema, rows.schema, tuple(extra), tuple(beside))
        user, rows = (
            half.checked(table, log) for half, table in zip(halves, (user, rows), strict=True)
        )
        if problems := log.problems():
            raise refuse("the request is refused", problems)
        return user, rows

    def read_side(self, table: pa.Table) -> pa.Table:
        """Columns of a side table in the types handed on; all others count as null.

        Raises:
            DataError: A column is of a wrong type, or a value breaks a rule.
        """
        lengths = (task.length for task in self._schema.durations if task.length is not None)
        needed = dict.fromkeys([*self._schema.feature_columns(bias=False), *lengths])
        there = set(table.column_names)
        others = [(name, pa.null()) for name in needed if name not in there]
        rules = self._rules(pa.schema([*table.schema, *others]), ())
        log = FaultLog()
        found = _half("table", table.schema, rules).checked(table, log)
        if problems := log.problems():
            raise refuse("the table is refused", problems)
        return found

    def _planned(
        self,
        user: pa.Schema,
        rows: pa.Schema,
        extra: tuple[str, ...],
        beside: tuple[Beside, ...],
    ) -> tuple[_Half, ...]:
        """What is done with such columns, decided once."""
        key = (extra, user.serialize().to_pybytes(), rows.serialize().to_pybytes(), beside)
        found = self._plans.get(key)
        if found is None:
            ready = [each for known, names in beside for each in known.fields if each.name in names]
            rules = self._rules(pa.schema([*user, *rows, *ready]), extra)
            for each in ready:
                if rules.plan.columns[each.name].dtype != each.type:
                    raise DataError(f"column {each.name!r} is read as another type")
            schemas = zip(_HALVES, (user, rows), strict=True)
            found = tuple(_half(origin, schema, rules) for origin, schema in schemas)
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[key] = found
        return found

    def _rules(self, fields: pa.Schema, extra: tuple[str, ...]) -> Rules:
        join = join_of(self._schema, None)
        request = Request(schema=self._schema, join=join, extra=extra, labels=False)
        plan, problems = try_plan(open_log(fields.empty_table()), request)
        if problems:
            raise refuse("the request is refused", [_of_request(each) for each in problems])
        return rules_of(plan, request)


def _of_request(problem: DataError) -> DataError:
    return DataError(problem.message, where="request", hint=problem.hint)


def _half(origin: str, schema: pa.Schema, rules: Rules) -> _Half:
    names = tuple(name for name in rules.plan.columns if name in schema.names)
    return _Half(
        origin=origin,
        names=names,
        reads=tuple(_read(schema, name, rules.plan.columns[name]) for name in names),
        checks=tuple(check for check in rules.checks if check.rule.column in names),
    )


def _read(schema: pa.Schema, name: str, column: Column) -> _Read:
    dtype = schema.field(name).type
    same = dtype == column.dtype and not column.wanted.missing
    return _Read(
        place=schema.get_field_index(name),
        column=column,
        ready=same and dtype in _READY,
        text=same and dtype in _TEXTS,
    )


def _cast(column: Any, read: _Read) -> tuple[Any, list[Fault]]:
    """As ``cast``, which has nothing to do for most columns."""
    if column.num_chunks == 1 and (read.ready or read.text):
        array = column.chunk(0)
        if read.ready or _is_utf8(array):
            return array, []
    return cast(column, read.column.wanted, read.column.dtype)


def _is_utf8(array: Any) -> bool:
    try:
        (array.flatten() if is_list(array.type) else array).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
