"""From which size on a change is told, and from which it is an alarm."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from polyrank.schema import Declared

Level = Literal["quiet", "note", "alarm"]
LEVELS: tuple[Level, ...] = ("quiet", "note", "alarm")
Share = Annotated[float, Field(ge=0, le=1)]


class Thresholds(Declared):
    """When to speak up. A change must be as large, and larger than chance explains."""

    psi_note: NonNegativeFloat = 0.1
    """Population stability index, beyond what no change at all would show on average."""
    psi_alarm: NonNegativeFloat = 0.25
    rate_note: Share = 0.02
    """Rise of a share of missing or unseen values."""
    rate_alarm: Share = 0.1
    degraded_note: Share = 0.01
    """Share of requests that were answered with less than there should be."""
    degraded_alarm: Share = 0.05
    ratio_margin: NonNegativeFloat = 0.1
    """Predicted over observed events may be so far from 1 before it is an alarm."""
    chance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of logs without any change in which some drift may be called so, over all features and
    tasks together."""
    min_units: PositiveInt = 30
    """Of fewer users (requests, rows) nothing is called a change."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("psi", "rate", "degraded"):
            low, high = getattr(self, f"{name}_note"), getattr(self, f"{name}_alarm")
            if low > high:
                raise ValueError(
                    f"`{name}_note` must be at most `{name}_alarm`, got {low:g} and {high:g}"
                )
        return self
