"""Requests: many candidates of one user, whose side is encoded once, and several requests at once.

Shapes: N candidates of a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from polyrank.data import AskedRows, Batch, stacked
from polyrank.errors import DataError
from polyrank.schema import Schema, Side
from polyrank.scoring.engines import UserRows
from polyrank.scoring.inputs import without_lengths
from polyrank.scoring.scorer import Predictions, Scorer
from polyrank.scoring.slices import slice_values

USER: tuple[Side, ...] = ("user",)
ROWS: tuple[Side, ...] = ("item", "context")


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
        self._asked = AskedRows(without_lengths(schema, scorer.timed))

    def encode(self, user: pa.Table, rows: pa.Table, context: Sequence[str] = ()) -> Asked:
        """Check and encode a request.

        Args:
            user: One row with ``user_columns``.
            rows: N rows with ``row_columns``, the lengths that heads read, and nothing of ``user``.
            context: What the value model reads; of either table.

        Raises:
            DataError: A column is missing, of a wrong type, or a value breaks a rule.
        """
        if user.num_rows != 1:
            raise DataError(f"`user` must have one row, got {user.num_rows}")
        extra = dict.fromkeys([*context, *self.scorer.segment_columns])
        user, rows = self._asked.read(user, rows, tuple(extra))
        encoders = self.scorer.bundle.encoders
        one = encoders.encode(user, labels=False, lengths=(), sides=USER)
        return Asked(
            users=UserRows.shared(one, rows.num_rows),
            rows=encoders.encode(rows, labels=False, lengths=self.scorer.timed, sides=ROWS),
            columns={name: _values(name, user, rows) for name in extra},
        )

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
        predicted = self.scorer.engine.predict(stacked([each.rows for each in asked]), users=users)
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


def _values(name: str, user: pa.Table, rows: pa.Table) -> NDArray[Any]:
    """A column of the rows, or the user's value once for each of them."""
    if name in rows.column_names:
        return slice_values(rows, name)
    return np.repeat(slice_values(user, name), rows.num_rows)
