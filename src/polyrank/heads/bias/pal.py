"""PAL: a click is a row that was seen, and then clicked.

Shapes: B rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from polyrank.data import Layout
from polyrank.heads.bias.base import Adjustment, BiasConfig, Fault
from polyrank.heads.bias.tower import BiasTower, TowerShape
from polyrank.heads.funnels.space import both, of_logits
from polyrank.schema import Binary, Schema

START = math.log(0.9 / 0.1)
"""P(seen) starts at .9: nothing but that start says how the product divides in two."""


class Product(Adjustment):
    """The loss is of P(seen) P(click | seen), the prediction is P(click | seen)."""

    def __init__(self, task: Binary) -> None:
        self._log_keep_rate = math.log(task.keep_rate)

    def trained(self, logit_B1: Tensor, bias_B1: Tensor | None) -> Tensor:
        """(B, 1): log p - log(1 - p) of the product, which is one of the log as it was; the log
        odds of a log that kept a share r of the negatives are larger by -log r."""
        assert bias_B1 is not None, "its tower gives one"
        clicked = of_logits(logit_B1 + self._log_keep_rate)
        return (both(of_logits(bias_B1), clicked).logits() - self._log_keep_rate)[:, None]


class PAL(TowerShape, BiasConfig):
    """P(click) = P(seen | shown) P(click | seen, x) (Guo et al., PAL, RecSys 2019), in log space.

    Predicted is P(click | seen, x), which lies above the share of rows that are clicked. Only the
    product is in the likelihood: how it divides in two follows from where P(seen) starts, so read
    the ranking of its predictions rather than their size.
    """

    kind: Literal["pal"] = "pal"

    @property
    def predicts_seen(self) -> bool:
        """It does."""
        return True

    def faults(self, schema: Schema, task: Binary) -> Iterator[Fault]:
        """Features that it cannot read."""
        del task
        yield from self.shape_faults(schema)

    def tower(self, schema: Schema, layout: Layout) -> BiasTower:
        """The logit of P(seen)."""
        features = self.reads(schema)
        return BiasTower(layout, features, dim=self.embedding_dim, widths=self.widths, start=START)

    def adjust(self, task: Binary) -> Product:
        """Makes a product of it."""
        return Product(task)
