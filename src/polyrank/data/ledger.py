"""The ledger: where every row that was read went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(kw_only=True)
class LabelCount:
    """What was seen of one task's label inside its sample space."""

    observed: int = 0
    low: float | None = None
    """Its smallest value; None if none was observed."""
    high: float | None = None

    def add(self, other: LabelCount) -> None:
        """Count further rows."""
        self.observed += other.observed
        self.low = min((x for x in (self.low, other.low) if x is not None), default=None)
        self.high = max((x for x in (self.high, other.high) if x is not None), default=None)


@dataclass(kw_only=True)
class Counts:
    """Rows of one part of the log."""

    read: int = 0
    used: int = 0
    """At least one label was observed in its sample space."""
    masked: int = 0
    """None was."""
    quarantined: int = 0
    """Refused by a rule."""
    filtered: dict[str, int] = field(default_factory=dict)
    """Dropped on purpose, by reason."""
    noted: dict[str, int] = field(default_factory=dict)
    """What else was seen, as the number of rows; it changes nothing in the sum."""
    labels: dict[str, LabelCount] = field(default_factory=dict)
    """By task."""

    def drop(self, reason: str, count: int) -> None:
        """Count rows as filtered."""
        _raise(self.filtered, reason, count)

    def note(self, what: str, count: int) -> None:
        """Count rows on which something is worth telling."""
        _raise(self.noted, what, count)

    def add(self, other: Counts) -> None:
        """Count further rows."""
        self.read += other.read
        self.used += other.used
        self.masked += other.masked
        self.quarantined += other.quarantined
        for reason, count in other.filtered.items():
            self.drop(reason, count)
        for what, count in other.noted.items():
            self.note(what, count)
        for task, label in other.labels.items():
            self.labels.setdefault(task, LabelCount()).add(label)

    def check(self) -> None:
        """Every row read is used, masked, quarantined or filtered, and only one of them."""
        told = self.used + self.masked + self.quarantined + sum(self.filtered.values())
        assert self.read == told, f"the row ledger is off: {self.read} rows read, {told} told"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        plain = {key: value for key, value in vars(self).items() if key != "labels"}
        return {**plain, "labels": {task: vars(label) for task, label in self.labels.items()}}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """What ``to_dict`` gave."""
        labels = {task: LabelCount(**label) for task, label in tree["labels"].items()}
        return cls(**{**tree, "labels": labels})


class Ledger:
    """Counts by part of the log ("train", "validation", "test", or whatever it was called).

    It holds complete passes: reading a part again replaces its counts, so that a log read for
    fitting and again for training counts once.
    """

    def __init__(self, parts: Mapping[str, Counts] | None = None) -> None:
        self.parts: dict[str, Counts] = dict(parts or {})

    def record(self, part: str, counts: Counts) -> None:
        """Set what a complete pass over ``part`` found."""
        counts.check()
        self.parts[part] = counts

    @property
    def total(self) -> Counts:
        """All parts together."""
        total = Counts()
        for counts in self.parts.values():
            total.add(counts)
        return total

    @property
    def read(self) -> int:
        """Rows read, over all parts."""
        return self.total.read

    @property
    def used(self) -> int:
        """Rows with an observed label, over all parts: to train, to choose and to test on."""
        return self.total.used

    @property
    def masked(self) -> int:
        """Rows without one, over all parts."""
        return self.total.masked

    @property
    def quarantined(self) -> int:
        """Rows refused, over all parts."""
        return self.total.quarantined

    @property
    def filtered(self) -> dict[str, int]:
        """Rows dropped on purpose by reason, over all parts."""
        return self.total.filtered

    def check(self) -> None:
        """read == used + masked + quarantined + filtered, in every part."""
        for counts in self.parts.values():
            counts.check()

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {part: counts.to_dict() for part, counts in self.parts.items()}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """What ``to_dict`` gave."""
        return cls({part: Counts.from_dict(counts) for part, counts in tree.items()})

    def summary(self) -> str:
        """A table for people: a row for each fate, a column for each part."""
        rows = list(self._rows())
        head = ["rows", *self.parts]
        widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
        return "\n".join(_line(row, widths) for row in [head, *rows])

    def _rows(self) -> Iterator[list[str]]:
        parts = list(self.parts.values())
        for name in ("read", "used", "masked", "quarantined"):
            yield [name, *(f"{getattr(counts, name):,}" for counts in parts)]
        for reason in _keys(counts.filtered for counts in parts):
            yield [f"filtered: {reason}", *(f"{c.filtered.get(reason, 0):,}" for c in parts)]
        for what in _keys(counts.noted for counts in parts):
            yield [f"({what})", *(f"{c.noted.get(what, 0):,}" for c in parts)]


def _keys(dicts: Iterator[dict[str, int]]) -> list[str]:
    return list(Counter(key for counts in dicts for key in counts))


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)])


def _raise(counts: dict[str, int], key: str, count: int) -> None:
    if count:
        counts[key] = counts.get(key, 0) + count
