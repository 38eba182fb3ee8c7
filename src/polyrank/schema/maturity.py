"""Labels that arrive late: until when the label of a row is not known."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import field_validator, model_validator

from polyrank.schema.instants import instant, iso, span
from polyrank.schema.model import Column, Declared
from polyrank.schema.refusal import Faults

_NEEDED = {
    "window": "how long after the impression the event may come, such as 7d",
    "event_time": "the column with the time of the event, null where none came so far",
    "observed_until": "when the log was cut, such as 2022-05-01",
}


class Maturity(Declared):
    """When the label of a binary task is known: its event may follow the impression.

    A row is mature once ``window`` has passed between its ``keys.time`` and ``observed_until``.
    Until then its label is not observed, be it 0, which may be a lie, or 1: whoever keeps the early
    events and drops those rows that wait counts too many events. An event after the window counts
    as none, so the label is 0: the task is "within the window". An event after ``observed_until``
    has not arrived, so the same log can be looked at as it was on an earlier day.

    Where ``keys.time`` holds whole numbers, so do ``event_time`` and ``observed_until``, and
    ``window`` is a number, all in that unit. Where it holds dates or timestamps, so does
    ``event_time``, ``observed_until`` is ISO 8601 (UTC, if it names no zone), and ``window`` is
    text: s, min, h, d or w, as in "7d".
    """

    window: int | float | str
    """How long after the impression an event counts, both ends included; above 0."""
    event_time: Column
    """The column with the time of the event; null: none so far."""
    observed_until: int | str
    """When the log was cut: later events are not in it."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, tree: object) -> object:
        if isinstance(tree, dict):
            faults = [
                (
                    name,
                    f"a maturity window needs `{name}`: {what}. Give it, or leave `maturity` out",
                )
                for name, what in _NEEDED.items()
                if tree.get(name) is None
            ]
            if faults:
                raise Faults(faults)
        return tree

    @field_validator("observed_until", mode="before")
    @classmethod
    def _iso(cls, value: object) -> object:
        return iso(value)

    @field_validator("observed_until")
    @classmethod
    def _moment(cls, value: int | str) -> int | str:
        instant(value)
        return value

    @field_validator("window")
    @classmethod
    def _above_zero(cls, value: float | str) -> float | str:
        span(value)
        return value

    @model_validator(mode="after")
    def _of_one_kind(self) -> Maturity:
        if isinstance(self.length, timedelta) != isinstance(self.cut, datetime):
            raise ValueError(
                f"`window` {self.window!r} and `observed_until` {self.observed_until!r} must be of "
                "one kind: two numbers in the unit of `keys.time`, or text like 7d and 2022-05-01"
            )
        return self

    @property
    def length(self) -> float | timedelta:
        """The window: a number in the unit of ``keys.time``, or a span."""
        return span(self.window)

    @property
    def cut(self) -> int | datetime:
        """``observed_until``."""
        return instant(self.observed_until)
