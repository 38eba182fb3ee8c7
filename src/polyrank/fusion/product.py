"""A product of powers: every task has to be good, and no unit matters.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from polyrank.fusion.base import ValueModel, refuse_rows
from polyrank.fusion.candidates import Candidates
from polyrank.fusion.scored import Form
from polyrank.fusion.terms import (
    Weighted,
    explained,
    parts_of,
    refuse_all_zero,
    reweighted,
    tasks_of,
    weights_of,
)
from polyrank.schema.model import Name

Floats = NDArray[np.float64]


class Factor(Weighted):
    """max(prediction + plus, floor) ** weight: the weight is a power."""

    complement: bool = False
    """1 - prediction, of a probability that should be low: (1 - report) ** 5."""
    plus: NonNegativeFloat = 0.0
    """Added first: it weakens the factor where predictions are small."""
    floor: PositiveFloat = 1e-9
    """The least base, in the label's unit: below it candidates are alike."""

    def part(self, name: str, candidates: Candidates) -> Floats:
        """(N,) the logarithm of the base, which the weight multiplies; finite.

        Raises:
            ConfigError: ``complement`` of what is no probability.
        """
        value_N = candidates.predictions[self.task or name]
        if self.complement:
            refuse_rows(
                (value_N < 0) | (value_N > 1),
                "`complement` is for probabilities, and a prediction lies outside 0 to 1",
                place=f"terms.{name}",
                hint="Give it a negative weight instead.",
            )
            value_N = 1.0 - value_N
        return np.log(np.maximum(value_N + self.plus, self.floor))


class Product(ValueModel):
    """The product of predictions to the power of their weights, or the logarithm of it.

    Tencent ranks news by it (PLE, Tang et al., RecSys 2020), and by (p + b) ** a (RL-MTF); Taobao
    by the sum of w log(max(p, floor)). Both scales rank alike. Terms are explained on the log
    scale: weight x log(base) of each factor; together they are the logarithm of the product.
    """

    kind: Literal["product"] = "product"
    terms: dict[Name, Factor] = Field(min_length=1)
    """By name of the factor: its power, or more."""
    scale: Literal["product", "log"] = "product"
    """What the score is: the product, or its logarithm, which no power makes too large or small."""

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            terms: Mapping[str, Factor | float],
            scale: Literal["product", "log"] = "product",
        ) -> None: ...

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        refuse_all_zero(self.tunable, "terms")
        return self

    def reads(self) -> Iterator[tuple[str, str]]:
        """Tasks of the factors."""
        return tasks_of(self.terms)

    @property
    def form(self) -> Form:
        """The terms add up to the logarithm."""
        return self.scale

    @property
    def tunable(self) -> dict[str, float]:
        """The power of each factor."""
        return weights_of(self.terms)

    def parts(self, candidates: Candidates) -> dict[str, Floats]:
        """The logarithm of each base."""
        self.check(candidates.predictions)
        return parts_of(candidates, self.terms, tasks_of, self._part)

    def _explain(self, candidates: Candidates) -> dict[str, Floats]:
        return explained(candidates, self.terms, tasks_of, self._part)

    def _part(self, name: str, candidates: Candidates) -> Floats:
        return self.terms[name].part(name, candidates)

    def _with_weights(self, weights: Mapping[str, float]) -> dict[str, Any]:
        return reweighted(self, weights)
