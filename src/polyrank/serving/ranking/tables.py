"""From what a request gives and what stores know of its ids to the two tables that are scored.

Shapes: N candidates.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.schema import Schema
from polyrank.serving.deadline import Deadline
from polyrank.serving.errors import RequestError
from polyrank.serving.ranking.ask import Ask

_REFUSED = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError)
"""What Arrow raises of values that make no column."""


class Completed(Protocol):
    """What a provider gives back."""

    @property
    def table(self) -> pa.Table:
        """The table with the columns of side tables."""

    @property
    def known(self) -> Mapping[str, NDArray[np.bool_]]:
        """By side table, which ids it has a row of."""

    @property
    def degraded(self) -> Mapping[str, Any]:
        """By side table that gave defaults: why."""


class Provider(Protocol):
    """Features by id."""

    def complete(
        self, table: pa.Table, deadline: Deadline, tables: Collection[str] | None = None
    ) -> Completed:
        """The table with what the side tables know of its ids."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """A request as two tables, and what was wanting in it."""

    user: pa.Table
    """One row."""
    rows: pa.Table
    """N rows."""
    missing: tuple[str, ...]
    """Columns that the model reads and nobody gave: null for all."""
    ignored: tuple[str, ...]
    """Columns that were given and that nothing reads."""
    unknown: Mapping[str, int]
    """By side table, how many of the ids it has no row of."""
    degraded: Mapping[str, str]
    """By side table that gave defaults: why."""


class TableMaker:
    """Makes the tables of requests to one bundle.

    Args:
        schema: The bundle's.
        user_columns: What the model reads of the user.
        row_columns: What it reads of a candidate and the context.
        provider: Knows features by id.
    """

    def __init__(
        self,
        schema: Schema,
        user_columns: Sequence[str],
        row_columns: Sequence[str],
        provider: Provider,
    ) -> None:
        keys = schema.keys
        self._user_key, self._item_key = keys.user, keys.item
        self._user_columns, self._row_columns = tuple(user_columns), tuple(row_columns)
        self._provider = provider
        of_user = {*user_columns, keys.user}
        on = {side.name: side.on for side in schema.tables}
        self._user_tables = tuple(name for name, column in on.items() if column in of_user)
        self._row_tables = tuple(name for name in on if name not in self._user_tables)
        self._on = on
        self._joined = frozenset(column for column in on.values())

    def make(self, ask: Ask, context: Sequence[str], deadline: Deadline) -> Tables:
        """The tables of a request.

        Args:
            ask: The request, of at least one candidate.
            context: Columns that calibration and the value model read.
            deadline: By which stores have answered.

        Raises:
            RequestError: 400, values make no column, or a feature of the user stands with the
                candidates or the other way round.
        """
        wanted = {*self._user_columns, *self._row_columns, *context, *self._joined}
        user, rows = self._given(ask, wanted)
        known: dict[str, int] = {}
        degraded: dict[str, str] = {}
        user = self._complete(user, self._user_tables, deadline, known, degraded)
        rows = self._partly(ask, rows, deadline, known, degraded)
        user, missing = _with_nulls(user, self._user_columns)
        rows, lacking = _with_nulls(rows, self._row_columns)
        brought = {*ask.user_features, *ask.item_features, *ask.context}
        return Tables(
            user=user,
            rows=rows,
            missing=(*missing, *lacking),
            ignored=tuple(sorted(brought - wanted)),
            unknown=known,
            degraded=degraded,
        )

    def complete_rows(self, rows: pa.Table, deadline: Deadline) -> pa.Table:
        """Rows of which each brings its own user, with all that stores know of their ids."""
        rows = self._complete(rows, tuple(self._on), deadline, {}, {})
        return _with_nulls(rows, (*self._user_columns, *self._row_columns))[0]

    def _given(self, ask: Ask, wanted: Collection[str]) -> tuple[pa.Table, pa.Table]:
        """What the request itself gives, each column in the half that reads it."""
        of_user = {*self._user_columns, self._user_key}
        user: dict[str, Any] = {}
        rows: dict[str, Any] = {}
        if self._user_key is not None:
            user[self._user_key] = _column([ask.user], self._user_key)
        if self._item_key is not None:
            rows[self._item_key] = _column(ask.items, self._item_key)
        for name, value in {**ask.context, **ask.user_features}.items():
            if name in of_user:
                user[name] = _column([value], name)
            elif name in wanted:
                rows[name] = _column([value] * len(ask), name)
        for name, values in ask.item_features.items():
            if name in of_user:
                raise RequestError(
                    400, f"feature {name!a} is of the user: give it in `user.features`"
                )
            if name in wanted:
                rows[name] = _column(values, name)
        return pa.table(user) if user else _rows_only(1), pa.table(rows)

    def _partly(
        self,
        ask: Ask,
        rows: pa.Table,
        deadline: Deadline,
        known: dict[str, int],
        degraded: dict[str, str],
    ) -> pa.Table:
        """The rows completed; what some candidates bring themselves stays theirs."""
        partly = [name for name in ask.given if name in rows.column_names]
        own = {name: rows[name] for name in partly if name not in self._joined}
        rows = rows.drop_columns(list(own))
        rows = self._complete(rows, self._row_tables, deadline, known, degraded)
        for name, values in own.items():
            if name in rows.column_names:
                there = pa.array(ask.given[name])
                values = pc.if_else(there, _as(values, rows[name].type, name), rows[name])
                rows = rows.drop_columns([name])
            rows = rows.append_column(name, values)
        return rows

    def _complete(
        self,
        table: pa.Table,
        tables: Sequence[str],
        deadline: Deadline,
        known: dict[str, int],
        degraded: dict[str, str],
    ) -> pa.Table:
        asked = tuple(name for name in tables if self._on[name] in table.column_names)
        if not asked:
            return table
        completed = self._provider.complete(table, deadline, asked)
        for name, found_N in completed.known.items():
            known[name] = int((~found_N).sum())
        degraded |= {name: str(reason) for name, reason in completed.degraded.items()}
        return completed.table


def _column(values: Sequence[Any], name: str) -> Any:
    try:
        column = pa.array(values)
    except _REFUSED:
        raise RequestError(400, f"the values of {name!a} are not of one kind") from None
    if pa.types.is_struct(column.type) or _nested(column.type):
        raise RequestError(400, f"{name!a} must be a value, or a list of values")
    return column


def _nested(dtype: Any) -> bool:
    return bool(pa.types.is_list(dtype) and pa.types.is_nested(dtype.value_type))


def _as(values: Any, dtype: Any, name: str) -> Any:
    try:
        return values.cast(dtype)
    except _REFUSED:
        raise RequestError(400, f"the values of {name!a} must be {dtype}") from None


def _with_nulls(table: pa.Table, names: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """The table with null where it lacks one of these columns, and which it lacked."""
    there = set(table.column_names)
    missing = [name for name in names if name not in there]
    for name in missing:
        table = table.append_column(name, pa.nulls(table.num_rows))
    return table, missing


def _rows_only(num_rows: int) -> pa.Table:
    """So many rows of nothing that anyone reads."""
    return pa.table({"": pa.nulls(num_rows)})
