"""Requests: many candidates of one user, whose side is encoded once, and several requests at once.

Shapes: N candidates of a request.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from polyrank.data import AskedRows, Batch, stacked
from polyrank.data.encoding.columns import pieces
from polyrank.data.encoding.ready import ReadyRows
from polyrank.errors import DataError
from polyrank.schema import Bag, Numeric, Schema, Side
from polyrank.schema import Sequence as History
from polyrank.scoring.engines import UserRows
from polyrank.scoring.inputs import without_lengths
from polyrank.scoring.scorer import Predictions, Scorer
from polyrank.scoring.slices import slice_values

USER: tuple[Side, ...] = ("user",)
ROWS: tuple[Side, ...] = ("item", "context")
_READY_ROWS = 1 << 14
"""Of a side table that are encoded at once."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request, encoded."""

    users: UserRows
    """The user's side: of one row for all, or of each row its own."""
    rows: Batch
    """N rows, whose user's side is not read."""
    columns: Mapping[str, NDArray[Any]]
    """(N,) by name: what calibration and the value model read beside predictions."""

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Joined:
    """Encoded rows of a side table, in place of columns of a request."""

    rows: ReadyRows
    row_N: NDArray[np.int64]
    """(N,) Whose each row of the request has; -1: an id that the table has no row of."""
    names: frozenset[str]
    """The columns that are read from it: those of ``rows.columns`` that the request has not."""


class RequestScorer:
    """Scores requests as its scorer scores a log: the same rules, the same bits.

    Args:
        scorer: Whose bundle and engine.
    """

    def __init__(self, scorer: Scorer) -> None:
        schema = scorer.bundle.schema
        self.scorer = scorer
        self.user_columns = _columns(schema, USER)
        """What ``user`` has to hold."""
        lengths = (
            task.length
            for task in schema.durations
            if task.name in scorer.timed and task.length is not None
        )
        self.row_columns = tuple(dict.fromkeys([*_columns(schema, ROWS), *lengths]))
        """What ``rows`` has to hold."""
        self._schema = without_lengths(schema, scorer.timed)
        self._asked = AskedRows(self._schema)

    def ready(self, table: pa.Table, sides: Sequence[Side]) -> ReadyRows | None:
        """The rows of a side table encoded, so that requests need not.

        Args:
            table: As a bundle has it; no column is read by features on other sides.
            sides: Of the features.

        Returns:
            With those columns whose encoding depends on nothing else in a request; null: there are
            none, or a row would be refused.
        """
        names = [name for name in _apart(self._schema, sides) if name in table.column_names]
        if not names:
            return None
        table = table.select(names)
        unknown = pa.table({field.name: pa.nulls(1, field.type) for field in table.schema})
        encoders = self.scorer.bundle.encoders
        try:
            read = self._asked.read_side(pa.concat_tables([table, unknown]))
            batches = [
                encoders.encode(part, labels=False, lengths=(), sides=sides, columns=names)
                for part in pieces(read, _READY_ROWS)
            ]
        except DataError:
            return None
        return ReadyRows(self.scorer.bundle.schema, encoders.layout, read.schema, batches)

    def encode(
        self,
        user: pa.Table,
        rows: pa.Table,
        context: Sequence[str] = (),
        *,
        of_user: Sequence[Joined] = (),
        of_rows: Sequence[Joined] = (),
    ) -> Asked:
        """Check and encode a request.

        Args:
            user: One row with ``user_columns``.
            rows: N rows with ``row_columns``, the lengths that heads read, and nothing of ``user``.
            context: What the value model reads; of either table.
            of_user: Where further columns of the user are read.
            of_rows: Where further columns of the rows are read.

        Raises:
            DataError: A column is missing, of a wrong type, or a value breaks a rule.
        """
        if user.num_rows != 1:
            raise DataError(f"`user` must have one row, got {user.num_rows}")
        extra = dict.fromkeys([*context, *self.scorer.segment_columns])
        beside = [(each.rows, each.names) for each in (*of_user, *of_rows)]
        user, rows = self._asked.read(user, rows, tuple(extra), beside=beside)
        return Asked(
            users=UserRows.shared(self._batch(user, USER, (), of_user), rows.num_rows),
            rows=self._batch(rows, ROWS, self.scorer.timed, of_rows),
            columns={name: _values(name, user, rows) for name in extra},
        )

    def _batch(
        self,
        table: pa.Table,
        sides: Sequence[Side],
        lengths: Collection[str],
        joined: Sequence[Joined],
    ) -> Batch:
        columns = frozenset(table.column_names) if joined else None
        batch = self.scorer.bundle.encoders.encode(
            table, labels=False, lengths=lengths, sides=sides, columns=columns
        )
        for each in joined:
            batch = each.rows.fill(batch, each.row_N, each.names)
        return batch

    def encode_rows(self, rows: pa.Table, context: Sequence[str] = ()) -> Asked:
        """Check and encode rows of which each brings its own user.

        Args:
            rows: N rows with ``user_columns``, ``row_columns`` and the lengths that heads read.
            context: As in ``encode``.

        Raises:
            DataError: As ``encode``.
        """
        extra = dict.fromkeys([*context, *self.scorer.segment_columns])
        _, rows = self._asked.read(rows.select([]).slice(0, 1), rows, tuple(extra))
        encoders, lengths = self.scorer.bundle.encoders, self.scorer.timed
        batch = encoders.encode(rows, labels=False, lengths=lengths)
        return Asked(
            users=UserRows(batch=batch, row_N=torch.arange(len(batch))),
            rows=batch,
            columns={name: slice_values(rows, name) for name in extra},
        )

    def predict(self, asked: Sequence[Asked]) -> list[Predictions]:
        """(N,) calibrated predictions by task of each request, all in one pass."""
        sizes = [len(each) for each in asked]
        users = _together([each.users for each in asked])
        predicted = self.scorer.computed(stacked([each.rows for each in asked]), users=users)
        cuts = np.cumsum(sizes)[:-1]
        parts = {task: np.split(value_N, cuts) for task, value_N in predicted.items()}
        return [
            self.scorer.calibrated(
                {task: parts[task][place] for task in parts}, asked[place].columns
            )
            for place in range(len(asked))
        ]


def _together(users: Sequence[UserRows]) -> UserRows:
    """The users of several requests, one after the other."""
    first_R = np.cumsum([0, *(len(each.batch) for each in users[:-1])]).tolist()
    row_N = torch.cat([each.row_N + first for each, first in zip(users, first_R, strict=True)])
    return UserRows(batch=stacked([each.batch for each in users]), row_N=row_N)


def _columns(schema: Schema, sides: Sequence[Side]) -> tuple[str, ...]:
    found = (feature.column for feature in schema.features if feature.side in sides)
    return tuple(dict.fromkeys(found))


def _apart(schema: Schema, sides: Sequence[Side]) -> list[str]:
    """The columns whose encoding depends on nothing else in a request: no lengths, no numbers that
    may not be missing, no ids split from text, whose kind is that of a column they share with."""
    lengths = {task.length for task in schema.durations}
    found: dict[str, bool] = {}
    for feature in schema.features:
        match feature:
            case Numeric():
                fit = feature.on_missing != "refuse"
            case Bag() | History():
                fit = feature.shares is None or feature.separator is None
            case _:
                fit = True
        fit = fit and feature.column not in lengths
        if feature.side in sides:
            found[feature.column] = fit and found.get(feature.column, True)
    return [name for name, fit in found.items() if fit]


def _values(name: str, user: pa.Table, rows: pa.Table) -> NDArray[Any]:
    """A column of the rows, or the user's value once for each of them."""
    if name in rows.column_names:
        return slice_values(rows, name)
    return np.repeat(slice_values(user, name), rows.num_rows)
