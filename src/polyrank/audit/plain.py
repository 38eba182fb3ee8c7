"""Results as plain JSON values and back, and the few kinds of number that they are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from pydantic import TypeAdapter

POINTS = 60
"""Of a series at most; of more, neighbours are averaged."""
Z95 = 1.959963984540054
"""Standard errors on each side of an interval of 95 %."""


class Plain:
    """A dataclass of numbers, texts, tuples, mappings and others of its kind; what is undefined is
    None, never NaN."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        found: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return found

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        """What ``to_json`` gave, or what JSON made of it."""
        return TypeAdapter(cls).validate_python(tree)


@dataclass(frozen=True, kw_only=True)
class Mean(Plain):
    """Of several looks."""

    value: float | None
    """None where there was none."""
    error: float | None
    """Standard error, as if looks were independent; they follow one another in one run, so it is
    too small. None below two."""
    count: int
    """Looks in which it was defined."""

    @classmethod
    def of(cls, values: Iterable[float]) -> Mean:
        """The mean of finite numbers."""
        found = list(values)
        count = len(found)
        if not count:
            return cls(value=None, error=None, count=0)
        mean = math.fsum(found) / count
        error = None
        if count > 1:
            error = math.sqrt(math.fsum((x - mean) ** 2 for x in found) / (count - 1) / count)
        return cls(value=mean, error=error, count=count)


Series = tuple[tuple[int, float], ...]
"""Steps, rising, and values."""


def thinned(points: Sequence[tuple[int, float]], most: int = POINTS) -> Series:
    """At most ``most`` points: means of equally many neighbours, at the last one's step."""
    size = -(-len(points) // most)
    groups = (points[start : start + size] for start in range(0, len(points), size or 1))
    return tuple((own[-1][0], math.fsum(value for _, value in own) / len(own)) for own in groups)


def finite(value: float) -> float | None:
    """None for NaN and infinities."""
    return float(value) if math.isfinite(value) else None


def wilson(share: float, count: float) -> tuple[float, float]:
    """The 95 % interval of a share of ``count`` independent rows (Wilson, JASA 1927)."""
    z2 = Z95 * Z95 / count
    middle = (share + z2 / 2) / (1 + z2)
    half = Z95 / (1 + z2) * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)
