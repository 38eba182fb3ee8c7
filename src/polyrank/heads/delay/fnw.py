"""Fake negatives weighted: every row is a negative at once, and a positive when its event comes.

Shapes: B rows.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from polyrank.data.layout import TargetStats
from polyrank.heads.binary import BinaryHead
from polyrank.heads.delay.base import (
    Correction,
    DelayConfig,
    Stream,
    Times,
    constant_prob,
    cross_entropies,
    stream_of,
)
from polyrank.heads.funnels import Logits, Part
from polyrank.schema import Binary


class FNWCorrection(Correction):
    """The weighted loss over the samples of a stream that waits for nothing."""

    def __init__(self, task: str, head: BinaryHead, stream: Stream) -> None:
        self._task, self._head, self._stream = task, head, stream
        self.parts = (Part(name=task, task=task),)

    def masks(self, times: Times) -> dict[str, Tensor]:
        """Rows with a sample in the span."""
        return {self._task: self._stream.first_B(times) | self._stream.second_B(times)}

    def losses(self, logits: Logits, times: Times) -> dict[str, Tensor]:
        """Of both samples of each row, as far as they lie in the span."""
        prob_B = constant_prob(logits[self._task])
        no_B, yes_B = cross_entropies(self._head, logits[self._task])
        negative_B = self._stream.first_B(times) * (1 - prob_B) * (1 + prob_B) * no_B
        positive_B = self._stream.second_B(times) * (1 + prob_B) * yes_B
        return {self._task: negative_B + positive_B}


class FNW(DelayConfig):
    """Fake-negative weighted loss (Ktena et al., RecSys 2019).

    Every row is a negative sample when it is shown, and a positive one when its event comes. Among
    N samples shown for x are N p later positives, p = P(event within the window | x): of all
    samples p / (1 + p) are positive and 1 / (1 + p) negative. Importance weights turn that into p
    and 1 - p, up to the factor N: 1 + p for positives, (1 - p)(1 + p) for negatives, with the
    model's own p = σ(z), held constant:

        -[y (1 + p) log σ(z) + (1 - y) (1 - p) (1 + p) log(1 - σ(z))]

    Its expected gradient in z is N (1 + p) (1 - p) (p - p*), 0 only at the true p*.

    The paper learns from a stream as it comes. Here the log is cut, and read in any order and more
    than once, so samples are taken by arrival: negatives and positives of the same span of time,
    which begins one window after the first training row and ends with the last one (``Stream``).
    Taken row by row instead, every row would be a negative and those whose event has come a
    positive: p so far, the naive negative's. It assumes that over the log impressions of a kind
    come at a steady rate, and that their p does not drift.
    """

    kind: Literal["fnw"] = "fnw"

    def build(self, task: Binary, head: BinaryHead, stats: TargetStats) -> FNWCorrection:
        """The correction.

        Raises:
            ConfigError: The training rows span no more than a window.
        """
        stream = stream_of(task, stats, wait=0.0, kind=self.kind)
        return FNWCorrection(task.name, head, stream)
