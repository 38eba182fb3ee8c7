"""A shallow tower: how a row was shown adds to its logit.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from polyrank.data import Layout
from polyrank.heads.bias.base import Adjustment, BiasConfig, Fault
from polyrank.heads.bias.tower import BiasTower, TowerShape
from polyrank.schema import Binary, Schema


class Added(Adjustment):
    """logit = the tower's + the bias tower's, in training and in scoring, where it is a constant.

    The constant is what the bias tower gives to missing features, learned on the rows whose
    features were dropped: so predictions fit the average of how rows were shown.
    """

    def trained(self, logit_B1: Tensor, bias_B1: Tensor | None) -> Tensor:
        """The sum."""
        assert bias_B1 is not None, "a shallow tower gives one"
        return logit_B1 + bias_B1

    def served(self, logit_B1: Tensor, bias_B1: Tensor | None) -> Tensor:
        """The sum."""
        return self.trained(logit_B1, bias_B1)


class ShallowTower(TowerShape, BiasConfig):
    """Adds a bias logit of how a row was shown (Zhao et al., RecSys 2019).

    P(click | x, shown) = σ(f(x) + b(shown)). In training the features of a share ``dropout`` of the
    rows are missing, so that the network learns to do without; in evaluation and scoring they are
    missing always. So a prediction is P(click | x) at the average position, and what is measured on
    the validation part is what is served.
    """

    kind: Literal["shallow_tower"] = "shallow_tower"
    dropout: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """In training, the chance that all bias features of a row are missing."""

    def faults(self, schema: Schema, task: Binary) -> Iterator[Fault]:
        """Features that it cannot read."""
        del task
        yield from self.shape_faults(schema)

    def tower(self, schema: Schema, layout: Layout) -> BiasTower:
        """The shallow tower, which starts at 0."""
        return BiasTower(
            layout,
            self.reads(schema),
            dim=self.embedding_dim,
            widths=self.widths,
            dropout=self.dropout,
        )

    def adjust(self, task: Binary) -> Added:
        """Adds to its logit."""
        del task
        return Added()
