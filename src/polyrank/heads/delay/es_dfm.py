"""Elapsed-time sampling: wait a little, then take what there is, and weigh it.

Shapes: B rows.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat
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
from polyrank.heads.funnels import Logits, Output, Part
from polyrank.schema import Binary


class ESDFMCorrection(Correction):
    """The weighted loss over the samples of a stream, and two towers that learn the weights."""

    def __init__(
        self, task: str, head: BinaryHead, stream: Stream, auxiliary_weight: float
    ) -> None:
        self._task, self._head, self._stream = task, head, stream
        self._delayed, self._real = f"{task}.delayed", f"{task}.real"
        rate_L = head.initial_logits()
        self.outputs = (
            Output(name=self._delayed, task=task, num_logits=1, initial_logits=rate_L),
            Output(name=self._real, task=task, num_logits=1, initial_logits=-rate_L),
        )
        self.parts = (
            Part(name=task, task=task),
            Part(name=self._delayed, task=task, weight=auxiliary_weight),
            Part(name=self._real, task=task, weight=auxiliary_weight),
        )

    def masks(self, times: Times) -> dict[str, Tensor]:
        """Rows with a sample in the span; mature ones; mature ones whose first sample is 0."""
        return {
            self._task: self._stream.first_B(times) | self._stream.second_B(times),
            self._delayed: times.mature_B,
            self._real: times.mature_B & ~self._stream.early_B(times),
        }

    def losses(self, logits: Logits, times: Times) -> dict[str, Tensor]:
        """Of both samples of each row; whether its event is late; whether there is none."""
        early_B, first_B = self._stream.early_B(times), self._stream.first_B(times)
        no_B, yes_B = cross_entropies(self._head, logits[self._task])
        sampled_B = 1 + constant_prob(logits[self._delayed])
        real_B = constant_prob(logits[self._real])
        num_positive_B = (first_B & early_B).float() + self._stream.second_B(times).float()
        negative_B = first_B & ~early_B
        late_B = times.event_B & ~early_B
        late = cross_entropies(self._head, logits[self._delayed])
        none = cross_entropies(self._head, logits[self._real])
        return {
            self._task: sampled_B * (num_positive_B * yes_B + negative_B * real_B * no_B),
            self._delayed: torch.where(late_B, late[1], late[0]),
            self._real: torch.where(times.event_B, none[0], none[1]),
        }


class ESDFM(DelayConfig):
    """Elapsed-time sampling with importance weights (Yang et al., ES-DFM, AAAI 2021).

    A row is first sampled e = ``wait`` windows after it was shown: 1 if its event came before, else
    0; where the event comes later, within the window, the row is sampled again then: 1. With p =
    P(event | x) and p_dp = P(event later than e | x), there are 1 + p_dp samples a row, of them
    q(1 | x) = p / (1 + p_dp) and q(0 | x) = (1 - p + p_dp) / (1 + p_dp). With p_rn = P(no event |
    none before e, x) = (1 - p) / (1 - p + p_dp), the importance weights are

        w(1) = p / q(1 | x) = 1 + p_dp,    w(0) = (1 - p) / q(0 | x) = (1 + p_dp) p_rn

    p_dp and p_rn come from further towers ``<task>.delayed`` and ``<task>.real``, by cross-entropy
    on mature rows, whose labels are final: p_dp on all of them, p_rn on those without an event
    before e. No gradient flows through the weights.

    The paper trains the model of p_dp and p_rn beforehand and apart, and the main one on a stream;
    here they are towers of the same network, learned together, and samples are those that arrive
    in one span of a log that is cut (``Stream``), read in any order and more than once. It assumes
    a steady rate of impressions, and that delays are what they were on mature rows.
    """

    kind: Literal["es_dfm"] = "es_dfm"
    wait: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Time before a row is first sampled, in windows: longer makes fewer fake negatives, and older
    samples."""
    auxiliary_weight: NonNegativeFloat = 1.0
    """Of the losses of p_dp and p_rn, beside the task's own, which weighs 1."""

    def build(self, task: Binary, head: BinaryHead, stats: TargetStats) -> ESDFMCorrection:
        """The correction.

        Raises:
            ConfigError: The training rows span no more than a window.
        """
        stream = stream_of(task, stats, wait=self.wait, kind=self.kind)
        return ESDFMCorrection(task.name, head, stream, self.auxiliary_weight)
