"""Numbers as readers want them: a true minus, thousands apart, no more digits than are known.

>>> number(0.00312), number(12345.6), number(-2.0, decimals=1), number(float("nan"))
('0.00312', '12,346', '−2.0', '–')
>>> short(20.0), short(0.05)
('20', '0.05')
>>> percent(0.031, signed=True), percent(0.9943)
('+3.1\\xa0%', '99.4\\xa0%')
>>> interval(0.022, 0.04, percent)
'2.2\\xa0% to 4.0\\xa0%'
"""

from __future__ import annotations

import math
from collections.abc import Callable

MINUS = "−"
UNKNOWN = "–"
_SMALLEST, _LARGEST = -4, 9  # powers of ten that are written out


def number(
    value: float, *, digits: int = 3, decimals: int | None = None, signed: bool = False
) -> str:
    """A number with some significant digits, or with some decimals where they are given.

    Whole digits are never cut, what rounds to nothing has no sign, and NaN is an en dash.
    """
    if math.isnan(value):
        return UNKNOWN
    text = _magnitude(abs(value), digits, decimals)
    if not text.strip("0.,"):
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def short(value: float) -> str:
    """A number without zeros at its end, such as a setting."""
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def percent(share: float, *, decimals: int = 1, signed: bool = False) -> str:
    """A share as a percentage: ``0.031`` is 3.1 %."""
    if math.isnan(share):
        return UNKNOWN
    return f"{number(100 * share, decimals=decimals, signed=signed)}\N{NO-BREAK SPACE}%"


def interval(low: float, high: float, form: Callable[[float], str] = number) -> str:
    """Both ends of an interval, each in a form."""
    return f"{form(low)} to {form(high)}"


def _magnitude(value: float, digits: int, decimals: int | None) -> str:
    if math.isinf(value):
        return "∞"
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if _SMALLEST <= power < _LARGEST:
        return f"{value:,.{max(0, digits - 1 - power)}f}"
    return f"{mantissa}e{power}".replace("-", MINUS)
