"""Columns of a log that say which list a row was in, and where, as arrays.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.errors import DataError
from polyrank.evaluation import NO_GROUP
from polyrank.schema import Schema
from polyrank.scoring.labels import SERVED

Floats = NDArray[np.float64]
WHERE = "off-policy"
RANK = "served_rank"
"""A row's place in its request, from 1, as a server logs it whatever the schema's keys."""


def listed_by(schema: Schema, given: Sequence[str]) -> dict[str, str]:
    """The columns of a row's request and of its place in it, as far as the log has them: those of
    the schema, else those that a server adds."""
    found = {}
    for role, served in (("request", SERVED), ("position", RANK)):
        asked = (getattr(schema.keys, role), served)
        column = next((name for name in asked if name in given), None)
        if column is not None:
            found[role] = column
    return found


def numbered(code_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) requests from 0; a row without a key is one by itself."""
    own_N = np.where(code_N == NO_GROUP, np.arange(len(code_N)), -1)
    pairs_2N = np.stack([code_N, own_N])
    return np.unique(pairs_2N, axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)


def codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """(N,) a number for each value."""
    codes = column.combine_chunks().dictionary_encode().indices
    return np.asarray(pc.fill_null(codes.cast(pa.int64()), NO_GROUP).to_numpy(), dtype=np.int64)


def numbers_in(held: pa.Table, name: str) -> Floats:
    """(N,) of a column, NaN where it is null.

    Raises:
        DataError: It holds no numbers.
    """
    column = held[name]
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DataError(
            f"column {name!r} holds {column.type}, where numbers are read",
            where=WHERE,
            hint="Cast it to a number.",
        )
    return np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(), dtype=np.float64)
