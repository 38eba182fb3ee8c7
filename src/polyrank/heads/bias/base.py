"""The seam of bias models: what a binary task's rows show because of how they were shown.

A bias model may give a task a logit of its own, from features on the side ``bias``; what the task
learns from is made of both, what it predicts is as if no one knew how the row was shown.

Shapes: B rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor

from polyrank.data import Layout
from polyrank.heads.base import Extras
from polyrank.heads.bias.tower import BiasTower
from polyrank.schema import Binary, Declared, Schema

Fault = tuple[str, str]
"""The key below ``model.bias.<task>``, and what is wrong there."""


class Adjustment:
    """What a bias model changes of one task: as it stands, nothing. Nothing in it learns."""

    def trained(self, logit_B1: Tensor, bias_B1: Tensor | None) -> Tensor:
        """(B, 1): the logit that the loss sees, from the tower's and the bias tower's."""
        del bias_B1
        return logit_B1

    def served(self, logit_B1: Tensor, bias_B1: Tensor | None) -> Tensor:
        """(B, 1): the logit that the prediction sees."""
        del bias_B1
        return logit_B1

    def known(self, extras: Extras) -> Tensor | None:
        """(B,) bool: the rows whose bias is known; others are not learned from. Null: all."""
        del extras
        return None

    def loss(self, loss_B: Tensor, logit_B1: Tensor, label_B: Tensor, extras: Extras) -> Tensor:
        """(B,): the task's loss, corrected; finite where the bias is not known, too."""
        del logit_B1, label_B, extras
        return loss_B


class BiasConfig(Declared, ABC):
    """The configuration of a bias model, and its builder."""

    kind: str

    @property
    def predicts_seen(self) -> bool:
        """Whether the prediction is given that the row was seen."""
        return False

    @property
    def weighs(self) -> bool:
        """Whether it changes the loss itself, not only the logit."""
        return False

    @property
    def examines(self) -> bool:
        """Whether it reads the examination curve of its task."""
        return False

    def reads(self, schema: Schema) -> tuple[str, ...]:
        """The features that it reads."""
        del schema
        return ()

    def faults(self, schema: Schema, task: Binary) -> Iterator[Fault]:
        """What in the schema does not fit."""
        del schema, task
        yield from ()

    def tower(self, schema: Schema, layout: Layout) -> BiasTower | None:
        """What gives the bias logit; null where there is none."""
        del schema, layout
        return None

    @abstractmethod
    def adjust(self, task: Binary) -> Adjustment:
        """What it changes of ``task``."""
