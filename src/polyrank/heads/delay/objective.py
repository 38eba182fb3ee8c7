"""A funnel's objective in which some tasks learn by a correction for labels that arrive late.

Shapes: B rows, P parts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from polyrank.data import Batch
from polyrank.heads.base import NO_EXTRAS, Extras, own_extras
from polyrank.heads.delay.base import Correction, Times
from polyrank.heads.funnels import Logits, Objective


class DelayObjective(Objective):
    """The objective of a funnel, with the parts of corrected tasks in place of its own.

    Predictions are the funnel's: a correction learns P(event within the window), as mature rows do.

    Args:
        funnel: In which the corrected tasks have one part each, of their own name.
        corrections: By task.
    """

    def __init__(self, funnel: Objective, corrections: Mapping[str, Correction]) -> None:
        super().__init__()
        self._funnel, self._corrections = funnel, dict(corrections)
        further = [output for one in corrections.values() for output in one.outputs]
        self.outputs = (*funnel.outputs, *further)
        assert set(corrections) <= {part.name for part in funnel.parts}, "a task without a part"
        self._parts = [part for part in funnel.parts if part.name not in corrections]
        self.parts = (
            *(corrections[p.name].parts[0] if p.name in corrections else p for p in funnel.parts),
            *(part for one in corrections.values() for part in one.parts[1:]),
        )

    def masks(self, batch: Batch) -> Tensor:
        """The funnel's, then the rows that each correction learns from."""
        parts = zip(self._funnel.parts, self._funnel.masks(batch).unbind(1), strict=True)
        masks = {part.name: mask_B for part, mask_B in parts}
        for task, correction in self._corrections.items():
            masks |= correction.masks(_times(batch, task))
        return torch.stack([masks[part.name] for part in self.parts], 1)

    def losses(self, logits: Logits, batch: Batch, parts: Collection[str]) -> dict[str, Tensor]:
        """The funnel's, and each correction's."""
        theirs = [part.name for part in self._parts if part.name in parts]
        losses = dict(self._funnel.losses(logits, batch, theirs))
        for task, correction in self._corrections.items():
            own = {part.name for part in correction.parts} & set(parts)
            if own:
                found = correction.losses(logits, _times(batch, task))
                losses |= {name: found[name] for name in own}
        return losses

    def predict(self, logits: Logits, extras: Extras = NO_EXTRAS) -> dict[str, Tensor]:
        """The funnel's."""
        return self._funnel.predict(logits, extras)


def _times(batch: Batch, task: str) -> Times:
    extras = own_extras(batch.extras, task)
    return Times(elapsed_B=extras["elapsed"], delay_B=extras["delay"])
