"""The seam of whoever looks at a network while it trains, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from polyrank.data import Batch
from polyrank.training.step import Stepper


class Probe(Protocol):
    """Looks at the network before a step. It leaves parameters, gradients, buffers and moments as
    they were, to the bit."""

    def look(
        self, stepper: Stepper, step: int, batch: Batch, denominators: Mapping[str, float]
    ) -> Mapping[str, Any] | None:
        """What is there to be written down, as plain JSON values; None at a step without a look.

        Args:
            stepper: What takes the step, in training mode.
            step: From 0.
            batch: The step's rows, on the CPU.
            denominators: As ``Stepper`` takes them.
        """
