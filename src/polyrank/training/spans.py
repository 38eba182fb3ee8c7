"""Rows and times of the parts of a log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polyrank.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Span:
    """Rows of a part, and the first and last value of its time column, as text."""

    rows: int
    first: str | None = None
    last: str | None = None


class Spans:
    """Watches chunks of the parts go by.

    Args:
        time: The column of times, if the log has one.
    """

    def __init__(self, time: str | None) -> None:
        self._time = time
        self._rows: dict[str, int] = {}
        self._bounds: dict[str, tuple[Any, Any]] = {}

    def watch(self, part: str, chunks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same chunks, counted."""
        self._rows[part] = 0
        self._bounds.pop(part, None)
        for chunk in chunks:
            self._rows[part] += chunk.num_rows
            if self._time is not None:
                self._widen(part, pc.min_max(chunk.column(self._time)).as_py())
            yield chunk

    def of(self, part: str) -> Span:
        """What was seen of a part."""
        if part not in self._bounds:
            return Span(rows=self._rows[part])
        first, last = (_text(bound) for bound in self._bounds[part])
        return Span(rows=self._rows[part], first=first, last=last)

    def refuse_backward(self) -> None:
        """Parts that were given one by one must follow each other in time.

        Raises:
            DataError: A part begins before the one before it ends.
        """
        parts = [part for part in ("train", "validation", "test") if part in self._bounds]
        for before, after in pairwise(parts):
            last, first = self._bounds[before][1], self._bounds[after][0]
            if first < last:
                raise DataError(
                    f"column {self._time!r} goes backwards across the parts: {after} begins at "
                    f"{_text(first)}, before {before} ends at {_text(last)}",
                    where=f"data.{after}",
                    hint="Divide the log by time; if it is held out by user on purpose, leave "
                    "the key `time` out of the schema.",
                )

    def _widen(self, part: str, seen: Mapping[str, Any]) -> None:
        first, last = self._bounds.get(part, (seen["min"], seen["max"]))
        self._bounds[part] = (min(first, seen["min"]), max(last, seen["max"]))


def _text(time: Any) -> str:
    return time.isoformat() if hasattr(time, "isoformat") else str(time)
