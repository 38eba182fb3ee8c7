"""How metrics, gains and intervals are written on the page."""

from __future__ import annotations

from collections.abc import Sequence

from polyrank.audit.compared import Compared
from polyrank.pages import interval, number
from polyrank.pages.numbers import UNKNOWN

IN_UNITS = ("mae", "rmse")
_NAMES = {"log_loss": "log loss", "ne": "normalised entropy", "pr_auc": "PR-AUC", "ratio": "ratio"}
_DECIMALS = 4
_FINE = 0.001
"""Gains below this have one more."""


def metric(name: str) -> str:
    """A metric's name for readers.

    >>> metric("auc"), metric("log_loss")
    ('AUC', 'log loss')
    """
    return _NAMES.get(name, name.upper().replace("_", " "))


def size(value: float | None, name: str, *, signed: bool = False) -> str:
    """A value or gain of a metric: four decimals, five of small gains; or three digits in the
    label's own unit.

    >>> size(-0.00312, "auc", signed=True), size(0.00012, "auc", signed=True), size(None, "mae")
    ('−0.0031', '+0.00012', '–')
    """
    if value is None:
        return UNKNOWN
    if name in IN_UNITS:
        return number(value, signed=signed)
    decimals = _DECIMALS + (signed and abs(value) < _FINE)
    return number(value, decimals=decimals, signed=signed)


def bounds(own: Compared) -> str:
    """The interval of a gain."""
    if own.low is None or own.high is None:
        return UNKNOWN
    return interval(own.low, own.high, lambda end: size(end, own.metric, signed=True))


def whole(value: float) -> str:
    """A count.

    >>> whole(1200)
    '1,200'
    """
    return number(value, decimals=0)


def sentence_of(text: str) -> str:
    """
    >>> sentence_of("no task is harmed")
    'No task is harmed.'
    """
    return f"{text[:1].upper()}{text[1:]}".removesuffix(".") + "."


def listed(parts: Sequence[str]) -> str:
    """
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])} and {parts[-1]}"
