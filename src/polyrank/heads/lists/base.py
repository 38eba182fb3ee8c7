"""The seam of list terms: what a binary task's logits lose against the other rows of a request.

A term gives every row of the batch its share of the loss of its request, and says which rows it
learns from; a step takes the weighted mean of the shares over those rows, in all processes
together, and adds ``weight`` times it to the head's own loss.

Shapes: B rows, L logits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import PositiveFloat
from torch import Tensor

from polyrank.heads.lists.groups import Rows, learners
from polyrank.schema import Declared


class ListConfig(Declared, ABC):
    """The configuration of a term. Nothing in it learns."""

    kind: str
    weight: PositiveFloat = 1.0
    """Of the term beside the head's cross-entropy, which weighs 1."""
    num_further_logits: ClassVar[int] = 0
    """Logits that the task needs beside its head's, from a tower of their own."""
    both_labels: ClassVar[bool]
    """Whether a request without a negative is left out, as one without a positive is."""
    negatives_learn: ClassVar[bool] = False
    """Whether negatives have shares of their own, as positives have."""

    def learns(self, rows: Rows) -> Tensor:
        """(B,) bool: the rows over which the shares are averaged."""
        return learners(rows, both=self.both_labels, negatives=self.negatives_learn)

    @abstractmethod
    def loss(self, logits_BL: Tensor, rows: Rows) -> Tensor:
        """(B,) share of each row, at least 0, finite, fp32 or wider; 0 where ``learns`` does not
        hold.

        Args:
            logits_BL: The head's logit first, then further ones.
            rows: Of the batch; every row of a request is in it.
        """
