"""What a store has done so far, in plain numbers that only rise."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass


@dataclass
class Counts:
    """Numbers since a store was opened."""

    calls: int = 0
    """Times that rows were asked for."""
    hits: int = 0
    """Ids of which there was a row."""
    unknown: int = 0
    """Ids of which there was none, in answers that came; null is no id."""
    degraded: int = 0
    """Calls that were answered with defaults, whatever the reason."""
    failures: int = 0
    """Of those: the store could not be reached, or gave something wrong."""
    timeouts: int = 0
    """Of those: no answer in time."""
    skipped: int = 0
    """Of those: the store was not asked, since it had failed before or no time was left."""

    def as_dict(self) -> dict[str, int]:
        """By name."""
        return asdict(self)


class Counter:
    """``Counts`` that many threads add to."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._lock = threading.Lock()

    def add(self, **numbers: int) -> None:
        """Add to the counts of these names."""
        with self._lock:
            for name, number in numbers.items():
                setattr(self._counts, name, getattr(self._counts, name) + number)

    def read(self) -> Counts:
        """The counts of one instant."""
        with self._lock:
            return Counts(**self._counts.as_dict())
