"""What a metric answers: a number, or NaN and the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

NO_ROWS = "no observed row"
NO_POSITIVES = "only one class: no positive label"
NO_NEGATIVES = "only one class: no negative label"


@dataclass(frozen=True, slots=True)
class Measure:
    """The value of a metric. ``value`` is NaN if and only if ``reason`` says why.

    Args:
        value: A finite number, or NaN where the metric is not defined.
        reason: ``None`` for a number, else the reason why there is none.
    """

    value: float
    reason: str | None = None

    def __post_init__(self) -> None:
        assert math.isnan(self.value) == (self.reason is not None), "NaN and reason go together"
        assert not math.isinf(self.value), "a measure is finite or NaN"


def defined(value: float) -> Measure:
    """A measure of ``value``; a result beyond float64 is undefined, and says so."""
    if math.isfinite(value):
        return Measure(float(value))
    return undefined("the result is not a finite float64 number")


def undefined(reason: str) -> Measure:
    """No value, and why."""
    return Measure(math.nan, reason)
