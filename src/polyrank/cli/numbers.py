"""Numbers as people read them."""

from __future__ import annotations

import math


def number(value: float, like: float | None = None) -> str:
    """A number with as many decimals as it is worth; a dash for an undefined one.

    Args:
        value: The number.
        like: Use the decimals of this one instead: an interval has those of its value.
    """
    if math.isnan(value):
        return "-"
    if like is None and 0 < abs(value) < 5e-5:
        return f"{value:.1e}"
    return f"{value:,.{_decimals(value if like is None else like)}f}"


def signed(value: float) -> str:
    """A difference with its sign; nothing for an undefined one."""
    if math.isnan(value):
        return ""
    return f"{value:+,.5f}" if abs(value) < 100 else f"{value:+,.1f}"


def percent(value: float) -> str:
    """A share as a percentage of one decimal; rarer ones with two."""
    return "-" if math.isnan(value) else f"{value:.1%}" if value >= 0.01 else f"{value:.2%}"


def _decimals(value: float) -> int:
    size = abs(value)
    return 4 if size < 10 else 2 if size < 100 else 1 if size < 10_000 else 0
