"""From what a request gives and what stores know of its ids to the two tables that are scored.

Shapes: N candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.data.encoding.ready import ReadyRows
from polyrank.schema import Schema, Side
from polyrank.scoring.requests import ROWS, USER, Joined
from polyrank.serving.deadline import Deadline
from polyrank.serving.errors import RequestError
from polyrank.serving.ranking.ask import MAX_REPEATED, Ask, room_of

MOST_BYTES = 128 << 20
"""Of a side table in memory that is kept encoded too: it takes about half as much again."""
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

    def rows_of(self, name: str) -> pa.Table | None:
        """All rows of a side table without its key, where they are in memory."""

    def find(self, table: pa.Table, name: str) -> NDArray[np.int64]:
        """(N,) Where the ids of a table's rows stand in a side table in memory; -1: unknown."""

    def extended(
        self, table: pa.Table, name: str, row_N: NDArray[np.int64], columns: Sequence[str]
    ) -> pa.Table:
        """The table with columns of a side table in memory."""


@dataclass
class _Found:
    """What becomes of the look-ups of one request."""

    deadline: Deadline
    raw: frozenset[str] = frozenset()
    """Columns that are wanted as they are, encoded or not."""
    ready: Mapping[str, ReadyRows] = field(default_factory=dict)
    """By side table its encoded rows."""
    unknown: dict[str, int] = field(default_factory=dict)
    degraded: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Half:
    """The user or the rows: columns, and rows of side tables that stand for further columns."""

    given: pa.Table
    """What was given, and what was looked up."""
    joined: Mapping[str, Joined]
    """By side table in memory, whose rows are encoded already."""

    @property
    def names(self) -> set[str]:
        """The columns, those that side tables stand for among them."""
        there = {name for each in self.joined.values() for name in each.names}
        return there.union(self.given.column_names)


@dataclass(frozen=True)
class Wanting:
    """What was wanting in a request."""

    missing: tuple[str, ...]
    """Columns that the model reads and nobody gave: null for all."""
    unknown: Mapping[str, int]
    """By side table that answered, how many of the ids it has no row of."""
    degraded: Mapping[str, str]
    """By side table that gave defaults: why."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """A request as two tables, and what was wanting in it."""

    halves: tuple[Half, Half]
    """Of the user one row, of nothing where the rows bring the user's columns; N rows."""
    provider: Provider
    wanting: Wanting
    ignored: tuple[str, ...]
    """Columns that were given and that nothing reads."""
    parted: bool
    """Whether the user's columns stand apart in ``user``."""

    @property
    def user(self) -> pa.Table:
        """One row, with all columns."""
        return self._whole(self.halves[0])

    @property
    def rows(self) -> pa.Table:
        """N rows, with all columns."""
        return self._whole(self.halves[1])

    def _whole(self, half: Half) -> pa.Table:
        table = half.given
        for name, joined in half.joined.items():
            table = self.provider.extended(table, name, joined.row_N, sorted(joined.names))
        return _without_nothing(table)


class TableMaker:
    """Makes the tables of requests to one bundle.

    Args:
        schema: The bundle's.
        user_columns: What the model reads of the user.
        row_columns: What it reads of a candidate and the context.
        provider: Knows features by id.
        offered: By side table, the columns that it adds.
        encoded: Encodes the rows of a side table that is in memory, if it can.
    """

    def __init__(
        self,
        schema: Schema,
        user_columns: Sequence[str],
        row_columns: Sequence[str],
        provider: Provider,
        offered: Mapping[str, Collection[str]],
        encoded: Callable[[pa.Table, Sequence[Side]], ReadyRows | None],
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
        self._offered = {name: frozenset(columns) for name, columns in offered.items()}
        self._ready: dict[str, ReadyRows] = {}
        for name in self._on if self._parted else ():
            rows = provider.rows_of(name)
            if rows is not None and rows.nbytes <= MOST_BYTES:
                ready = encoded(rows, USER if name in self._user_tables else ROWS)
                self._ready |= {} if ready is None else {name: ready}

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
        self._refuse_two_ids(ask)
        wanted = {*self._user_columns, *self._row_columns, *context, *self._joined}
        given, rows, partly = self._given(ask, wanted)
        found = _Found(deadline, frozenset((*context, *self._joined, *partly)), self._ready)
        user = self._complete(Half(given, {}), self._user_tables, found)
        half = self._partly(ask, rows, partly, found)
        user, missing = _with_nulls(user, self._user_columns if self._parted else ())
        of_rows = () if self._parted else self._user_columns
        half, lacking = _with_nulls(half, (*dict.fromkeys((*of_rows, *self._row_columns)),))
        brought = {*ask.user_features, *ask.item_features, *ask.context}
        return Tables(
            halves=(user, half),
            provider=self._provider,
            wanting=Wanting((*missing, *lacking), found.unknown, found.degraded),
            ignored=tuple(sorted(brought - wanted)),
            parted=self._parted,
        )

    def complete_rows(self, rows: pa.Table, deadline: Deadline) -> tuple[pa.Table, Wanting]:
        """Rows of which each brings its own user, with all that stores know of their ids."""
        found = _Found(deadline)
        half = self._complete(Half(rows, {}), tuple(self._on), found)
        half, missing = _with_nulls(half, (*self._user_columns, *self._row_columns))
        return half.given, Wanting(tuple(missing), found.unknown, found.degraded)

    def _refuse_two_ids(self, ask: Ask) -> None:
        """An id in its place and one among features: whose would the answer be?"""
        shared = {*ask.context, *ask.user_features}
        if self._user_key in shared and ask.user is not None:
            raise RequestError(400, f"{self._user_key!a} is given beside `user.id`: leave one out")
        key = self._item_key
        if key in shared:
            flags = [True] * len(ask)
        elif key is not None and key in ask.item_features:
            flags = [*ask.given.get(key, [True] * len(ask))]
        else:
            return
        if any(flag and item is not None for flag, item in zip(flags, ask.items, strict=True)):
            raise RequestError(400, f"{key!a} is given beside a candidate's id: leave one out")

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
        once = rows.keys() - ask.item_features.keys()
        _check_room([shared[name] for name in rows], len(ask))
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
        rows = {
            name: _repeated(values, name) if name in once else _column(values, name)
            for name, values in rows.items()
        }
        none = _rows_only(len(ask))
        return pa.table(user) if user else _rows_only(1), pa.table(rows) if rows else none, partly

    def _partly(self, ask: Ask, rows: pa.Table, partly: Collection[str], found: _Found) -> Half:
        """The rows completed; what some candidates bring themselves stays theirs."""
        own = {name: rows[name] for name in partly}
        half = Half(rows.drop_columns(list(own)) if own else rows, {})
        for table in self._row_tables:
            if (on := self._on[table]) in own:
                half = _with_own(half, on, own.pop(on), ask.given[on])
            half = self._complete(half, (table,), found)
        for name, values in own.items():
            half = _with_own(half, name, values, ask.given[name])
        return half

    def _complete(self, half: Half, tables: Sequence[str], found: _Found) -> Half:
        """The half with what these side tables know, of which one may give another's key."""
        for each in tables:
            there = half.given.column_names
            if self._on[each] not in there or self._offered[each].issubset(there):
                continue
            if each in found.ready:
                half = self._joined_to(half, each, found)
                continue
            completed = self._provider.complete(half.given, found.deadline, (each,))
            for name, known_N in completed.known.items():
                if name not in completed.degraded:  # what a store did not say it may know
                    found.unknown[name] = int((~known_N).sum())
            found.degraded |= {name: str(reason) for name, reason in completed.degraded.items()}
            half = Half(completed.table, half.joined)
        return half

    def _joined_to(self, half: Half, name: str, found: _Found) -> Half:
        """The half with the encoded rows of a side table, and the columns that are read of it
        beside or cannot be encoded alone."""
        ready = found.ready[name]
        lacking = self._offered[name].difference(half.given.column_names)
        names = (lacking & ready.columns) - found.raw
        row_N = self._provider.find(half.given, name)
        found.unknown[name] = int(np.count_nonzero(row_N < 0))
        given = half.given
        if raw := sorted(lacking - names):
            given = self._provider.extended(given, name, row_N, raw)
        return Half(given, {**half.joined, name: Joined(ready, row_N, names)})


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


def _with_own(half: Half, name: str, values: Any, given: Sequence[bool]) -> Half:
    """The rows with a column that some of them bring; the others keep theirs, or have none."""
    rows = half.given
    if name in rows.column_names:
        there = pa.array(given)
        values = pc.if_else(there, _as(values, rows[name].type, name), rows[name])
        rows = rows.drop_columns([name])
    return Half(rows.append_column(name, values), half.joined)


def _column(values: Sequence[Any], name: str) -> Any:
    try:
        column = pa.array(values)
    except _REFUSED:
        raise RequestError(400, f"the values of {name!a} are not of one kind") from None
    if pa.types.is_struct(column.type) or _nested(column.type):
        raise RequestError(400, f"{name!a} must be a value, or a list of values")
    return column


def _check_room(values: Sequence[Any], number: int) -> None:
    """Refuse what would fill the memory once it stands with every candidate."""
    room = sum(map(room_of, values)) * number
    if room > MAX_REPEATED:
        told = f"{number:,} candidates share features of {room // number:,} characters and values"
        raise RequestError(413, f"{told}, and {MAX_REPEATED:,} in all are the most")


def _repeated(values: Sequence[Any], name: str) -> Any:
    """A column of one value throughout, which is read once."""
    column = _column(values[:1], name)
    return pa.repeat(column[0], len(values)) if values else column


def _nested(dtype: Any) -> bool:
    return bool(pa.types.is_list(dtype) and pa.types.is_nested(dtype.value_type))


def _as(values: Any, dtype: Any, name: str) -> Any:
    try:
        return values.cast(dtype)
    except _REFUSED:
        raise RequestError(400, f"the values of {name!a} must be {dtype}") from None


def _with_nulls(half: Half, names: Sequence[str]) -> tuple[Half, list[str]]:
    """The half with null where it lacks one of these columns, and which it lacked."""
    there, table = half.names, half.given
    missing = [name for name in names if name not in there]
    for name in missing:
        table = table.append_column(name, pa.nulls(table.num_rows))
    return Half(_without_nothing(table), half.joined), missing


def _without_nothing(table: pa.Table) -> pa.Table:
    """The table less ``_rows_only``, where it has another column."""
    several = table.num_columns > 1 and "" in table.column_names
    return table.drop_columns([""]) if several else table


def _rows_only(num_rows: int) -> pa.Table:
    """So many rows of nothing that anyone reads."""
    return pa.table({"": pa.nulls(num_rows)})
