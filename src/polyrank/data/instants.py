"""Columns of times as whole numbers, and moments of the configuration in the same unit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.errors import ConfigError

TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""How many of a unit make a second."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def whole(array: Any) -> NDArray[np.int64]:
    """Times (int64, date32 or timestamp) as whole numbers in their own unit; null is 0."""
    if pa.types.is_date32(array.type):
        array = array.view(pa.int32()).cast(pa.int64())
    filled = array.view(pa.int64()).fill_null(0)
    found: NDArray[np.int64] = filled.to_numpy(zero_copy_only=False)
    return found


def is_number(dtype: Any) -> bool:
    """Whether a column of times holds whole numbers, whose unit nobody knows."""
    return bool(pa.types.is_int64(dtype))


def in_unit(
    moment: int | datetime, dtype: Any, *, told: str, where: str, begun: bool = False
) -> int:
    """A moment in the unit of a column of times.

    Args:
        moment: From ``polyrank.schema.instants.instant``.
        dtype: Of the column.
        begun: In a column of dates, the day that the moment lies in, not the first one after it.
        told: The column and the bound, for the message.
        where: The key of the configuration.

    Raises:
        ConfigError: The column is of another kind.
    """
    if isinstance(moment, int) != is_number(dtype):
        raise ConfigError(
            told,
            where=where,
            hint="Give whole numbers in the column's unit, or dates for a column of dates or "
            "timestamps.",
        )
    if isinstance(moment, int):
        return moment
    since = moment - _EPOCH
    if pa.types.is_date32(dtype):
        day = timedelta(days=1)
        return since // day if begun else -(-since // day)
    return since // timedelta(microseconds=1) * TICKS[dtype.unit] // 10**6
