"""Moments and spans of time as a configuration writes them.

>>> from polyrank.schema.instants import instant, span
>>> instant("2022-04-29").isoformat(), span("36h").days
('2022-04-29T00:00:00+00:00', 1)
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta

_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(s|min|h|d|w)")
_SECONDS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def iso(value: object) -> object:
    """A date or time that YAML has read, as text again; anything else as it is."""
    return value.isoformat() if isinstance(value, date) else value


def instant(value: int | str) -> int | datetime:
    """A whole number as it is, ISO 8601 text as a moment with a zone: UTC, if none is named.

    Raises:
        ValueError: The text is no date or time.
    """
    if isinstance(value, int):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(
            f"a time is a whole number or a date like 2022-04-29, got {value!r}"
        ) from (error)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def span(value: float | str) -> float | timedelta:
    """A number above 0 as it is, text like "7d" as a span of time.

    Raises:
        ValueError: It is neither, or not above 0.
    """
    if not isinstance(value, str):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"must be above 0, got {value}")
        return value
    found = _SPAN.fullmatch(value)
    if found is None or float(found[1]) == 0:
        raise ValueError(
            f"must be a span above 0 like 30min, 36h, 7d or 2w, or a number, got {value!r}"
        )
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])
