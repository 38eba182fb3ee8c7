"""The instant by which an answer is worth something, on a clock that never jumps.

>>> deadline = Deadline.within(60.0)
>>> deadline.expired()
False
>>> deadline.tightened(0.0).remaining()
0.0
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant of the monotonic clock, in seconds; infinity means never.

    Setting the machine's clock moves no deadline.

    Args:
        at: What ``time.monotonic()`` shows when it is over.
    """

    at: float

    def __post_init__(self) -> None:
        if math.isnan(self.at):
            raise ValueError("`at` must be an instant of the monotonic clock, got nan")

    @classmethod
    def within(cls, seconds: float) -> Deadline:
        """The deadline so many seconds from now; at once where ``seconds`` is not above 0."""
        return cls(time.monotonic() + seconds)

    @classmethod
    def never(cls) -> Deadline:
        """A deadline that does not pass."""
        return cls(math.inf)

    def remaining(self) -> float:
        """Seconds left, at least 0; infinity where it never passes."""
        return max(0.0, self.at - time.monotonic())

    def expired(self) -> bool:
        """Whether nothing is left."""
        return time.monotonic() >= self.at

    def tightened(self, seconds: float) -> Deadline:
        """The earlier of this one and ``seconds`` from now: a step's own share of the time."""
        return Deadline(min(self.at, time.monotonic() + seconds))
