"""What every store of a side table answers, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.serving.deadline import Deadline
from polyrank.serving.features.counts import Counts

Id = str | int | None
Reason = Literal["timeout", "down", "wrong", "open", "deadline"]
"""Why a store gave defaults: it was too slow, could not be reached, gave something else than rows
of this table, is left alone for a while after failures (``breaker``), or the request had no time
left."""


@dataclass(frozen=True)
class Fetched:
    """Rows of a side table, one an id; N ids."""

    table: pa.Table
    """(N rows) The columns of the table less its key, in the order of the ids; null if unknown."""
    known_N: NDArray[np.bool_]
    """Whether the store has a row of the id; of null it has none."""
    degraded: Reason | None = None
    """Null: the store has answered. Else nothing is known, and every value is null."""


class FeatureStore(Protocol):
    """One side table by id; any number of threads may call it at once."""

    def fetch(self, ids: Sequence[Id] | pa.Array, deadline: Deadline) -> Fetched:
        """The rows of ``ids``; a store that is slow, down or wrong gives nulls and says so.

        Args:
            ids: (N) As the key of the table: int64 or text, compared byte for byte.
            deadline: By then it has answered, give or take the time to build the table.

        Raises:
            DataError: Ids of another kind than the table's key, beyond int64, or not UTF-8.
        """
        ...

    @property
    def counts(self) -> Counts:
        """What was counted since it was opened."""
        ...

    def describe(self) -> dict[str, Any]:
        """Kind and state in words and numbers, for a page of status; no secrets."""
        ...

    def close(self) -> None:
        """Let go of files and connections; those in use are closed once they are given back."""
        ...
