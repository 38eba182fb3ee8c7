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
    """One row; of nothing where the rows bring the user's columns themselves."""
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
    parted: bool
    """Whether the user's columns stand apart in ``user``."""


class TableMaker:
    """Makes the tables of requests to one bundle.

    Args:
        schema: The bundle's.
        user_columns: What the model reads of the user.
        row_columns: What it reads of a candidate and the context.
        provider: Knows features by id.
        offered: By side table, the columns that it adds.
    """

    def __init__(
        self,
        schema: Schema,
        user_columns: Sequence[str],
        row_columns: Sequence[str],
        provider: Provider,
        offered: Mapping[str, Collection[str]],
    ) -> None:
        keys = schema.keys
        self._user_key, self._item_key = keys.user, keys.item
        self._user_columns, self._row_columns = tuple(user_columns), tuple(row_columns)
        self._provider = provider
        self._on = {side.name: side.on for side in schema.tables}
        self._joined = frozenset(self._on.values())
        of_user = {name for name in (*user_columns, keys.user) if name is not None}
        tables = _tables_of(of_user, self._on, offered)
        joined = {name for table in tables for name in offered[table]}
        others = {name for table in offered if table not in tables for name in offered[table]}
        self._parted = not (of_user | joined) & {*row_columns, keys.item} and not of_user & others
        self._of_user = frozenset(of_user if self._parted else ())
        self._user_tables = tables if self._parted else ()
        self._row_tables = tuple(name for name in self._on if name not in self._user_tables)

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
        user, rows, partly = self._given(ask, wanted)
        known: dict[str, int] = {}
        degraded: dict[str, str] = {}
        user = self._complete(user, self._user_tables, deadline, known, degraded)
        rows = self._partly(ask, rows, partly, deadline, known, degraded)
        user, missing = _with_nulls(user, self._user_columns if self._parted else ())
        of_rows = () if self._parted else self._user_columns
        rows, lacking = _with_nulls(rows, (*dict.fromkeys((*of_rows, *self._row_columns)),))
        brought = {*ask.user_features, *ask.item_features, *ask.context}
        return Tables(
            user=user,
            rows=rows,
            missing=(*missing, *lacking),
            ignored=tuple(sorted(brought - wanted)),
            unknown=known,
            degraded=degraded,
            parted=self._parted,
        )

    def complete_rows(self, rows: pa.Table, deadline: Deadline) -> pa.Table:
        """Rows of which each brings its own user, with all that stores know of their ids."""
        rows = self._complete(rows, tuple(self._on), deadline, {}, {})
        return _with_nulls(rows, (*self._user_columns, *self._row_columns))[0]

    def _given(
        self, ask: Ask, wanted: Collection[str]
    ) -> tuple[pa.Table, pa.Table, Collection[str]]:
        """What the request itself gives, each column in the half that reads it, and the columns
        that some candidates bring and the others have not from anywhere in it."""
        user: dict[str, Any] = {}
        rows: dict[str, Any] = {}
        partly: list[str] = []
        shared = {**ask.context, **ask.user_features}
        if self._user_key is not None:
            shared.setdefault(self._user_key, ask.user)
            wanted = {*wanted, self._user_key}
        for name, value in shared.items():
            if name in self._of_user:
                user[name] = _column([value], name)
            elif name in wanted:
                rows[name] = [value] * len(ask)
        if self._item_key is not None:
            rows.setdefault(self._item_key, ask.items)
        for name, values in ask.item_features.items():
            if name in self._of_user:
                raise RequestError(
                    400, f"feature {name!a} is of the user: give it in `user.features`"
                )
            if name in rows and name in ask.given:
                rows[name] = _chosen(ask.given[name], values, rows[name])
            elif name in wanted:
                rows[name] = values
                partly += [name] if name in ask.given else []
        rows = {name: _column(values, name) for name, values in rows.items()}
        none = _rows_only(len(ask))
        return pa.table(user) if user else _rows_only(1), pa.table(rows) if rows else none, partly

    def _partly(
        self,
        ask: Ask,
        rows: pa.Table,
        partly: Collection[str],
        deadline: Deadline,
        known: dict[str, int],
        degraded: dict[str, str],
    ) -> pa.Table:
        """The rows completed; what some candidates bring themselves stays theirs."""
        own = {name: rows[name] for name in partly}
        rows = rows.drop_columns(list(own))
        for table in self._row_tables:
            if (on := self._on[table]) in own:
                rows = _with_own(rows, on, own.pop(on), ask.given[on])
            rows = self._complete(rows, (table,), deadline, known, degraded)
        for name, values in own.items():
            rows = _with_own(rows, name, values, ask.given[name])
        return rows

    def _complete(
        self,
        table: pa.Table,
        tables: Sequence[str],
        deadline: Deadline,
        known: dict[str, int],
        degraded: dict[str, str],
    ) -> pa.Table:
        """The table with what these side tables know, of which one may give another's key."""
        for each in tables:
            if self._on[each] not in table.column_names:
                continue
            completed = self._provider.complete(table, deadline, (each,))
            for name, found_N in completed.known.items():
                known[name] = int((~found_N).sum())
            degraded |= {name: str(reason) for name, reason in completed.degraded.items()}
            table = completed.table
        return table


def _tables_of(
    of_user: Collection[str], on: Mapping[str, str], offered: Mapping[str, Collection[str]]
) -> tuple[str, ...]:
    """The side tables whose key is the user's, or of a table that is."""
    there = set(of_user)
    found = []
    for name, column in on.items():
        if column in there:
            found.append(name)
            there.update(offered[name])
    return tuple(found)


def _chosen(given: Sequence[bool], own: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """What a candidate brings itself or, else, what holds for it otherwise."""
    return [mine if flag else other for flag, mine, other in zip(given, own, others, strict=True)]


def _with_own(rows: pa.Table, name: str, values: Any, given: Sequence[bool]) -> pa.Table:
    """The rows with a column that some of them bring; the others keep theirs, or have none."""
    if name in rows.column_names:
        there = pa.array(given)
        values = pc.if_else(there, _as(values, rows[name].type, name), rows[name])
        rows = rows.drop_columns([name])
    return rows.append_column(name, values)


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
    if "" in there and table.num_columns > 1:
        table = table.drop_columns([""])
    return table, missing


def _rows_only(num_rows: int) -> pa.Table:
    """So many rows of nothing that anyone reads."""
    return pa.table({"": pa.nulls(num_rows)})
