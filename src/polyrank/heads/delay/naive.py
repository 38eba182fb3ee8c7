"""The naive negative: what has not come so far never will.

Shapes: B rows.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from polyrank.data.layout import TargetStats
from polyrank.heads.binary import BinaryHead
from polyrank.heads.delay.base import Correction, DelayConfig, Times, cross_entropies
from polyrank.heads.funnels import Logits, Part
from polyrank.schema import Binary


class NaiveCorrection(Correction):
    """Cross-entropy with the label so far, over all rows of the log."""

    def __init__(self, task: str, head: BinaryHead) -> None:
        self._task, self._head = task, head
        self.parts = (Part(name=task, task=task),)

    def masks(self, times: Times) -> dict[str, Tensor]:
        """All that have a label so far."""
        return {self._task: times.asked_B}

    def losses(self, logits: Logits, times: Times) -> dict[str, Tensor]:
        """Of label 1 where the event has come."""
        no_B, yes_B = cross_entropies(self._head, logits[self._task])
        return {self._task: torch.where(times.event_B, yes_B, no_B)}


class Naive(DelayConfig):
    """Every row at once, with its label so far: a row whose event has yet to come counts as 0.

    Biased: it learns P(event so far | x), below P(event within the window | x) by the share of
    events still to come. It stands here for comparison.
    """

    kind: Literal["naive"] = "naive"

    def build(self, task: Binary, head: BinaryHead, stats: TargetStats) -> NaiveCorrection:
        """The correction, or rather the lack of one."""
        return NaiveCorrection(task.name, head)
