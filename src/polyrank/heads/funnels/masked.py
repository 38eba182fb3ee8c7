"""Masked training: every task learns on the rows of its own sample space.

Shapes: B rows, T tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from torch import Tensor

from polyrank.data import Batch
from polyrank.heads.base import NO_EXTRAS, Extras, Head, own_extras
from polyrank.heads.funnels.base import FunnelConfig, Logits, Objective, Output, Part
from polyrank.schema import Schema


class MaskedObjective(Objective):
    """One tower and one part a task: the head's loss where the label was observed."""

    def __init__(self, heads: Mapping[str, Head]) -> None:
        super().__init__()
        self.heads = dict(heads)
        self.outputs = tuple(
            Output(
                name=task,
                task=task,
                num_logits=head.num_logits,
                initial_logits=head.initial_logits(),
            )
            for task, head in heads.items()
        )
        self.parts = tuple(Part(name=task, task=task) for task in heads)

    def masks(self, batch: Batch) -> Tensor:
        """Where each label was observed and its sample space holds."""
        assert batch.observed_BT is not None, "training batches carry masks"
        return batch.observed_BT

    def losses(self, logits: Logits, batch: Batch, parts: Collection[str]) -> dict[str, Tensor]:
        """Each head's own."""
        assert batch.labels_BT is not None, "training batches carry labels"
        columns = zip(self.heads.items(), batch.labels_BT.unbind(1), strict=True)
        return {
            task: head.loss(logits[task], label_B, own_extras(batch.extras, task))
            for (task, head), label_B in columns
            if task in parts
        }

    def predict(self, logits: Logits, extras: Extras = NO_EXTRAS) -> dict[str, Tensor]:
        """Each head's own."""
        return {
            task: head.predict(logits[task], own_extras(extras, task))
            for task, head in self.heads.items()
        }


class Masked(FunnelConfig):
    """Every task on the rows of its own sample space: P(purchase | click) learns from clicks alone.

    What is learned on clicked rows is then asked of all rows, where it may be wrong: rows are
    clicked for a reason (Ma et al., ESMM, SIGIR 2018, section 1).
    """

    kind: Literal["masked"] = "masked"

    def build(self, schema: Schema, heads: Mapping[str, Head]) -> MaskedObjective:
        """The objective."""
        return MaskedObjective(heads)
