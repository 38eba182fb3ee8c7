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

from polyrank.data.canonical import canonical_table, rule_faults
from polyrank.data.faults import FaultLog, refuse
from polyrank.data.join import join_of
from polyrank.data.plan import Request, try_plan
from polyrank.data.rules import Rules, rules_of
from polyrank.data.source import open_log
from polyrank.data.sources.base import Chunk
from polyrank.errors import DataError
from polyrank.schema import Schema

MAX_PLANS = 256
"""Sets of columns and types that are remembered."""
_Signature = tuple[tuple[str, ...], tuple[tuple[str, Any], ...]]


@dataclass(frozen=True)
class _Half:
    """The user's columns or the rows'."""

    origin: str
    table: pa.Table


class AskedRows:
    """Reads requests by the rules by which a ``Reader`` reads a log to be scored.

    Args:
        schema: What the columns mean; its side tables are not joined: all columns are given.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema.model_copy(update={"tables": ()})
        self._rules: dict[_Signature, Rules] = {}

    def read(
        self, user: pa.Table, rows: pa.Table, extra: Sequence[str] = ()
    ) -> tuple[pa.Table, pa.Table]:
        """Both tables in the types handed on.

        Args:
            user: One row: what all of ``rows`` share.
            rows: The candidates; no column of ``user``.
            extra: Further columns of either to hand on as they are.

        Raises:
            DataError: A column is missing, twice there or of a wrong type, or a value breaks a
                rule; everything at once.
        """
        halves = (_Half("user", user), _Half("candidates", rows))
        rules = self._rules_for([*user.schema, *rows.schema], tuple(extra))
        log = FaultLog()
        user, rows = (_checked(half, rules, log) for half in halves)
        if problems := log.problems():
            raise refuse("the request is refused", problems)
        return user, rows

    def _rules_for(self, fields: Sequence[Any], extra: tuple[str, ...]) -> Rules:
        """The rules for such columns, made once."""
        key = (extra, tuple((field.name, field.type) for field in fields))
        if key not in self._rules:
            if len(self._rules) >= MAX_PLANS:
                self._rules.clear()
            join = join_of(self._schema, None)
            request = Request(schema=self._schema, join=join, extra=extra, labels=False)
            plan, problems = try_plan(open_log(pa.schema(fields).empty_table()), request)
            if problems:
                raise refuse("the request is refused", [_of_request(each) for each in problems])
            self._rules[key] = rules_of(plan, request)
        return self._rules[key]


def _of_request(problem: DataError) -> DataError:
    return DataError(problem.message, where="request", hint=problem.hint)


def _checked(half: _Half, rules: Rules, log: FaultLog) -> pa.Table:
    names = half.table.column_names
    columns = {name: column for name, column in rules.plan.columns.items() if name in names}
    chunk = Chunk(half.table, half.origin, 0)
    table, faults = canonical_table(chunk, columns)
    checks = [check for check in rules.checks if check.rule.column in columns]
    faults += rule_faults(table, half.table, checks, faults)
    log.add(faults, origin=half.origin, first_row=0)
    return table
