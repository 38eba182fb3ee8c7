"""Times that cannot be: seconds among milliseconds, the year 1970, the year 5138.

An integer says no unit. If nearly all times of the first chunk lie between the years 1990 and 2100
in one unit, the column is taken for an epoch in it and every other time for a fault; if not (days
like 20220429, counters), nothing is assumed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.arrays import nulls_of, plain
from polyrank.data.faults import Fault, Rule, broken

_FROM = 631_152_000
_TO = 4_102_444_800
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_NEARLY_ALL = 0.9
_FIRST, _FEWEST = 1000, 10
_WHOLE = re.compile("[0-9]{9,19}")
_CURE = "Write one unit in all rows; drop rows whose clock was wrong."


def readable(text: str) -> str:
    """A time as a person reads it: a whole number since 1970 as a date; other text as it is.

    >>> readable("1767571208361"), readable("20220429")
    ('2026-01-05 00:00 UTC', '20220429')
    """
    if not _WHOLE.fullmatch(text):
        return text
    for scale in _UNITS.values():
        if _FROM * scale <= int(text) < _TO * scale:
            moment = datetime.fromtimestamp(int(text) // scale, UTC)
            return f"{moment:%Y-%m-%d %H:%M} UTC"
    return text


def unit_of(array: Any) -> str | None:
    """The unit of a column of times (int64, date32 or timestamp), told from its first rows; None
    where they are few or no epoch."""
    first = array.slice(0, _FIRST)
    known_B = ~nulls_of(first)
    return _unit_of(array.type, _whole(first)[known_B]) if known_B.sum() >= _FEWEST else None


def is_plausible(time: int, unit: str) -> bool:
    """Whether it lies between the years 1990 and 2100."""
    return _FROM * _UNITS[unit] <= time < _TO * _UNITS[unit]


def unit_at(time: int) -> str | None:
    """The unit in which it lies between the years 1990 and 2100; None where there is none.

    >>> unit_at(1_768_300_000_000), unit_at(20260301)
    ('ms', None)
    """
    return next((unit for unit in _UNITS if is_plausible(time, unit)), None)


class PlausibleTimes:
    """The rule for one pass over a log; the first chunk sets the unit."""

    def __init__(self, column: str) -> None:
        self.column = column
        self._seen = False
        self._unit: str | None = None

    def faults(self, table: pa.Table, raw: pa.Table) -> list[Fault]:
        """The rows whose time (int64, date32 or timestamp) cannot be; ``raw`` shows the values."""
        array = plain(table.column(self.column))
        null_B = nulls_of(array)
        time_B = _whole(array)
        if not self._seen and not null_B.all():
            self._unit = _unit_of(array.type, time_B[~null_B])
            self._seen = True
        if self._unit is None:
            return []
        rule = Rule(
            self.column,
            f"a time lies between the years 1990 and 2100; the first rows are in {self._unit}",
            _CURE,
        )
        bad_B = ~_plausible(time_B, self._unit) & ~null_B
        return broken(rule, bad_B, plain(raw.column(self.column))) if bad_B.any() else []


def _whole(array: Any) -> NDArray[np.int64]:
    if pa.types.is_date32(array.type):
        array = array.cast(pa.timestamp("s"))
    whole: NDArray[np.int64] = array.view(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return whole


def _unit_of(dtype: Any, time_B: NDArray[np.int64]) -> str | None:
    if pa.types.is_date32(dtype):
        units = ["s"]
    elif pa.types.is_timestamp(dtype):
        units = [dtype.unit]
    else:
        units = list(_UNITS)
    shares = {unit: float(_plausible(time_B, unit).mean()) for unit in units}
    best = max(shares, key=lambda unit: shares[unit])
    return best if shares[best] >= _NEARLY_ALL else None


def _plausible(time_B: NDArray[np.int64], unit: str) -> NDArray[np.bool_]:
    scale = _UNITS[unit]
    return (time_B >= _FROM * scale) & (time_B < _TO * scale)
