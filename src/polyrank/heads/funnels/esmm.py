"""ESMM: P(conversion | click) learned over the entire space, through the product with P(click).

Shapes: B rows, P parts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from torch import Tensor

from polyrank.data import Batch
from polyrank.heads.base import NO_EXTRAS, Extras, Head
from polyrank.heads.funnels.base import FunnelConfig, Logits, Objective
from polyrank.heads.funnels.masked import MaskedObjective
from polyrank.heads.funnels.space import Space, require_inner
from polyrank.schema import Schema


class ESMMObjective(Objective):
    """The towers of masked training; a binary task within others learns through its joint."""

    def __init__(self, heads: Mapping[str, Head], space: Space) -> None:
        super().__init__()
        space.require_logits(heads)
        self._space = space
        self._plain = MaskedObjective(heads)
        self.outputs, self.parts = self._plain.outputs, self._plain.parts

    def masks(self, batch: Batch) -> Tensor:
        """Where each label was observed; of a task within others, where its joint is known."""
        mask_BP = self._plain.masks(batch).clone()
        for task in self._space.inner:
            mask_BP[:, self._space.places[task]] = self._space.joint_labels(batch, task)[1]
        return mask_BP

    def losses(self, logits: Logits, batch: Batch, parts: Collection[str]) -> dict[str, Tensor]:
        """Each head's own; of a task within others, the cross-entropy of its joint."""
        inner = [task for task in self._space.inner if task in parts]
        losses = self._plain.losses(logits, batch, set(parts) - set(inner))
        for task in inner:
            reached_B, _ = self._space.joint_labels(batch, task)
            losses[task] = self._space.joint(logits, task).cross_entropy(reached_B)
        return losses

    def predict(self, logits: Logits, extras: Extras = NO_EXTRAS) -> dict[str, Tensor]:
        """Each head's own: P(task | what it lies within)."""
        return self._plain.predict(logits, extras)


class ESMM(FunnelConfig):
    """Conversions learned on all impressions (Ma et al., ESMM, SIGIR 2018).

    L = BCE(y, pCTR) + BCE(y AND z, pCTR · pCVR), each a mean over the rows on which its label is
    known; pCVR has no loss of its own. So for each binary task within others, over chains of any
    length. Products are sums of log-sigmoids and log(1 - p) is built from positive terms, so no
    logit is extreme enough to lose a gradient to rounding. Tasks that are not binary stay on their
    own sample space.

    What is predicted is P(task | what it lies within). It is right where P(click) is; where that
    is too low, the product makes up for it by a conversion rate that is too high (Wang et al.,
    ESCM², SIGIR 2022, section 3).
    """

    kind: Literal["esmm"] = "esmm"

    def check(self, schema: Schema) -> None:
        """Refuse a schema without a binary task within another."""
        require_inner(schema, self.kind)

    def needs_logits(self, schema: Schema) -> tuple[str, ...]:
        """All tasks of chains."""
        return Space.of(schema).members

    def build(self, schema: Schema, heads: Mapping[str, Head]) -> ESMMObjective:
        """The objective."""
        return ESMMObjective(heads, Space.of(schema))
