"""Learning rates as a function of the step, so that there is nothing to remember.

>>> Schedule(warmup_steps=2, total_steps=12, cosine=True).dense(0)
0.5
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FLOOR = 0.1
"""Where the cosine ends, as a share of the peak."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Factors on the peak rates at a step, counted from 0.

    A step that was skipped counts: the rate follows the position in the data, not the number of
    updates.

    Args:
        warmup_steps: Both factors are (step + 1) / warmup_steps before that step.
        total_steps: Of the whole run; the last one has the cosine's floor.
        cosine: Whether the dense factor falls after warm-up; the table's never does.
    """

    warmup_steps: int
    total_steps: int
    cosine: bool

    def dense(self, step: int) -> float:
        """The factor of the dense parameters."""
        warm = self.table(step)
        if not self.cosine or step < self.warmup_steps:
            return warm
        length = max(1, self.total_steps - 1 - self.warmup_steps)
        done = min(1.0, (step - self.warmup_steps) / length)
        return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done))

    def table(self, step: int) -> float:
        """The factor of the embedding tables."""
        return min(1.0, (step + 1) / max(1, self.warmup_steps))
