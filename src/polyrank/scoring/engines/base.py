"""The seam of engines: encoded rows in, predictions out, the same bits wherever a row stands.

Shapes: N rows, R users.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyrank.data import Batch, Layout
from polyrank.data.batch import Ragged

Predictions = dict[str, NDArray[np.float64]]
"""(N,) by task."""


@dataclass(frozen=True, kw_only=True)
class UserRows:
    """The user's side of rows that share users: R users, and whose each row is.

    >>> one = Batch(
    ...     ids_BF=torch.tensor([[7, 0]]), numeric_BN=torch.zeros(1, 0), ragged={}, vectors={}
    ... )
    >>> UserRows.shared(one, num_rows=3).row_N
    tensor([0, 0, 0])
    """

    batch: Batch
    """R rows, at least one. Only features on the side ``user`` are read; others may hold anything
    that fits, such as zeros."""
    row_N: Tensor
    """int64, in [0, R): the user of each row."""

    @classmethod
    def shared(cls, user: Batch, num_rows: int) -> UserRows:
        """All rows are of one user, the only row of ``user``."""
        return cls(batch=user, row_N=torch.zeros(num_rows, dtype=torch.int64))

    def rows(self, start: int, stop: int) -> UserRows:
        """Of some of the rows; all users stay."""
        return replace(self, row_N=self.row_N[start:stop])


class Engine(Protocol):
    """What a scorer needs of whatever computes. An engine may be used by several threads."""

    @property
    def name(self) -> str:
        """ "eager", "onnx" or "compiled"."""

    @property
    def precision(self) -> str:
        """ "fp32", "bf16", "int8" or "int8_tables"."""

    def predict(
        self, batch: Batch, *, users: UserRows | None = None, further: bool = False
    ) -> Predictions:
        """(N,) predictions by task, in the label's unit, before calibration.

        A row's bits depend neither on the other rows, nor on its place, nor on whether its user is
        shared.

        Args:
            batch: N rows.
            users: The user's side of the rows, which is then not read from ``batch``; null: every
                row has its own in ``batch``.
            further: With what heads predict beside, by "<task>.<name>".

        Raises:
            EngineError: What computes threw something.
            MemoryError: There is not enough.
        """


def joined(batch: Batch, users: UserRows, layout: Layout) -> Batch:
    """The rows with their users' side in its place, as if each had brought it."""
    own = users.batch.take(users.row_N)
    ids = torch.tensor([column.side == "user" for column in layout.ids], dtype=torch.bool)
    numbers = torch.tensor([column.side == "user" for column in layout.numerics], dtype=torch.bool)
    lists: dict[str, Ragged] = {
        column.name: (own if column.side == "user" else batch).ragged[column.name]
        for column in layout.ragged
    }
    return replace(
        batch,
        ids_BF=torch.where(ids, own.ids_BF, batch.ids_BF),
        numeric_BN=torch.where(numbers, own.numeric_BN, batch.numeric_BN),
        ragged=lists,
        vectors={
            column.name: (own if column.side == "user" else batch).vectors[column.name]
            for column in layout.vectors
        },
    )
