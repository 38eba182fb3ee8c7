"""The seam of delay corrections: what a binary task learns from rows whose label may still change.

A correction takes the place of the head's loss on mature rows: it says which rows a task learns
from, and what they lose. All times are in windows of the task's maturity, backwards from the cut.

Shapes: B rows, L logits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from polyrank.data.layout import TargetStats
from polyrank.errors import ConfigError
from polyrank.heads.binary import BinaryHead
from polyrank.heads.funnels import Logits, Output, Part
from polyrank.schema import Binary, Declared


class Times(NamedTuple):
    """What a correction knows of each row."""

    elapsed_B: Tensor
    """From the impression to the cut: below 1 the label may still become 1, below 0 the row is
    younger than the log."""
    delay_B: Tensor
    """From the impression to the event: infinite where none came so far, NaN where the task has no
    label, mature or not (it was not asked, or lies outside its sample space)."""

    @property
    def asked_B(self) -> Tensor:
        """(B,) bool: rows of the log that have a label, be it one so far."""
        return ~self.delay_B.isnan() & (self.elapsed_B >= 0)

    @property
    def mature_B(self) -> Tensor:
        """(B,) bool: those whose label is final."""
        return self.asked_B & (self.elapsed_B >= 1)

    @property
    def event_B(self) -> Tensor:
        """(B,) bool: the event came in time, and before the cut."""
        return self.delay_B <= 1


@dataclass(frozen=True)
class Stream:
    """The samples of a task that arrive within one span of time, each row giving one or two.

    A row gives a first sample ``wait`` after its impression: 1 if its event came before that, else
    0. If the event comes later, yet within the window, the row gives a second sample then: 1.

    The span ends with the log. It begins one window after the first impression, since earlier ones
    are not in the log, and with them would be missing the second samples of the beginning: the
    first window serves as a source of second samples only. Over such a span, if impressions of a
    kind x come at a steady rate n(x), there are n(x) first samples a unit of time, and as many
    second ones as there are late events: n(x) P(late event | x). Were first samples taken from the
    beginning instead, each row would count as a first sample and only some of their events would
    have come: the second samples would be short by what is still to come, which is the very bias
    to be corrected.
    """

    wait: float
    """In [0, 1)."""
    newest: float
    """Time from the last impression to the cut."""
    oldest: float
    """Time from the first impression to the cut."""

    @property
    def start(self) -> float:
        """How long before the cut the span begins."""
        return self.oldest - 1

    @property
    def stop(self) -> float:
        """How long before the cut it ends: with the first sample of the last impression."""
        return max(0.0, self.newest - self.wait)

    def first_B(self, times: Times) -> Tensor:
        """(B,) bool: the first sample lies in the span."""
        return times.asked_B & self._holds(times.elapsed_B - self.wait)

    def early_B(self, times: Times) -> Tensor:
        """(B,) bool: the event came before the first sample."""
        return times.delay_B < self.wait

    def second_B(self, times: Times) -> Tensor:
        """(B,) bool: there is a second sample, and it lies in the span."""
        late_B = times.event_B & ~self.early_B(times)
        return times.asked_B & late_B & self._holds(times.elapsed_B - times.delay_B)

    def _holds(self, age_B: Tensor) -> Tensor:
        return (age_B <= self.start) & (age_B >= self.stop)


class Correction(ABC):
    """What a task learns from; it holds constants only, nothing that learns.

    Attributes:
        parts: Of the task's loss; the first has the task's name.
        outputs: Further towers, beside the task's own.
    """

    parts: tuple[Part, ...]
    outputs: tuple[Output, ...] = ()

    @abstractmethod
    def masks(self, times: Times) -> Mapping[str, Tensor]:
        """(B,) bool by part: the rows that it learns from."""

    @abstractmethod
    def losses(self, logits: Logits, times: Times) -> Mapping[str, Tensor]:
        """(B,) loss of each row by part; only where its mask holds does it count."""


class DelayConfig(Declared, ABC):
    """The configuration of a correction, and its builder."""

    kind: str

    @abstractmethod
    def build(self, task: Binary, head: BinaryHead, stats: TargetStats) -> Correction:
        """The correction of ``task``.

        Raises:
            ConfigError: The training rows do not cover enough time.
        """


def stream_of(task: Binary, stats: TargetStats, *, wait: float, kind: str) -> Stream:
    """The samples of a task over the training rows.

    Raises:
        ConfigError: They span no more than a window.
    """
    newest, oldest = stats.ages if stats.ages is not None else (0.0, 0.0)
    stream = Stream(wait=wait, newest=newest, oldest=oldest)
    if stream.start <= stream.stop:
        raise ConfigError(
            f"{kind!r} needs training rows over more than one window of maturity, and the oldest "
            f"is {oldest:.2f} windows before `observed_until`, the newest {newest:.2f}",
            where=f"model.delay.{task.name}",
            hint="Give more of the log, or leave the correction out: then rows that are not mature "
            "are masked.",
        )
    return stream


def cross_entropies(head: BinaryHead, logits_BL: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) loss of each row were its label 0, and were it 1."""
    zeros_B = torch.zeros_like(logits_BL[:, 0])
    return head.loss(logits_BL, zeros_B), head.loss(logits_BL, zeros_B + 1)


def constant_prob(logits_BL: Tensor) -> Tensor:
    """(B,) σ(z) in float32 or wider, through which no gradient flows."""
    logit_B = logits_BL[:, 0].detach()
    return torch.sigmoid(logit_B if logit_B.dtype == torch.float64 else logit_B.float())
