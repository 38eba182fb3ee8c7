"""A weighted sum of predictions: what most feeds rank by.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator

from polyrank.fusion.base import ValueModel, refuse_rows
from polyrank.fusion.candidates import Candidates
from polyrank.fusion.terms import (
    Weighted,
    explained,
    parts_of,
    refuse_all_zero,
    reweighted,
    tasks_of,
    weights_of,
)
from polyrank.fusion.weights import equal_contribution
from polyrank.schema import Faults
from polyrank.schema.model import Name

Floats = NDArray[np.float64]


class Term(Weighted):
    """weight x clip(prediction / max(divisor, floor), lower, upper) ** power.

    The weight is negative where less is better.
    """

    divided_by: Name | None = None
    """A task whose prediction it is divided by: interactions per predicted watch time."""
    floor: PositiveFloat | None = None
    """The least divisor, in the unit of the task ``divided_by``, which needs it."""
    lower: float | None = None
    """Predictions, after the division, count as no less; null: no bound."""
    upper: float | None = None
    """They count as no more; null: no bound."""
    power: float = 1.0
    """Of the bounded prediction."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.divided_by is not None and self.floor is None:
            raise Faults(
                [
                    (
                        "floor",
                        f"is missing: dividing by {self.divided_by!r} needs the least divisor. "
                        "Give one, in its unit",
                    )
                ]
            )
        if self.floor is not None and self.divided_by is None:
            raise Faults(
                [("floor", "says nothing without `divided_by`. Name a task there, or `lower`")]
            )
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise Faults(
                [("lower", f"must be at most `upper`, {self.upper:g}, got {self.lower:g}")]
            )
        return self

    def part(self, name: str, candidates: Candidates) -> Floats:
        """(N,) what the weight multiplies.

        Args:
            name: Of the term.
            candidates: Every prediction that the term reads is there.

        Raises:
            ConfigError: It is not finite.
        """
        value_N = candidates.predictions[self.task or name]
        with np.errstate(all="ignore"):
            if self.divided_by is not None and self.floor is not None:
                value_N = value_N / np.maximum(candidates.predictions[self.divided_by], self.floor)
            if self.lower is not None:
                value_N = np.maximum(value_N, self.lower)
            if self.upper is not None:
                value_N = np.minimum(value_N, self.upper)
            if self.power != 1.0:
                value_N = value_N**self.power
        refuse_rows(
            ~np.isfinite(value_N),
            f"no finite number to the power of {self.power:g}",
            place=f"terms.{name}",
            hint="Give `lower`, above 0 for a negative power, and `upper`.",
        )
        return value_N


class WeightedSum(ValueModel):
    """The sum of terms, each a prediction times its weight; predictions should be calibrated.

    X's published weights (README of twitter/the-algorithm-ml, 5 April 2023):

    >>> x = WeightedSum(terms={
    ...     "favorite": 0.5, "retweet": 1.0, "reply": 13.5, "good_profile_click": 12.0,
    ...     "video_playback50": 0.005, "reply_engaged_by_author": 75.0, "good_click": 11.0,
    ...     "good_click_v2": 10.0, "negative_feedback_v2": -74.0, "report": -369.0,
    ... })
    >>> x.tunable["report"]
    -369.0
    """

    kind: Literal["weighted_sum"] = "weighted_sum"
    terms: dict[Name, Term] = Field(min_length=1)
    """By name of the term: its weight, or more."""

    if TYPE_CHECKING:

        def __init__(self, *, terms: Mapping[str, Term | float]) -> None: ...

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        refuse_all_zero(self.tunable, "terms")
        return self

    @classmethod
    def balanced(cls, candidates: Candidates, values: Mapping[str, float]) -> Self:
        """Weights to start from: on these rows each task contributes equally on average, times the
        value that it is given (``equal_contribution``). Rows without all predictions do not count.

        Args:
            candidates: Rows of the log.
            values: By task, what it is worth beside the others; negative where less is better.

        Raises:
            ConfigError: A value names no task, or a task is predicted 0 throughout.
        """
        plain = cls(terms=dict.fromkeys(values, 1.0))
        return cls(terms=equal_contribution(plain.score(candidates).mean_sizes, values))

    def reads(self) -> Iterator[tuple[str, str]]:
        """Tasks and divisors of the terms."""
        return _reads(self.terms)

    @property
    def tunable(self) -> dict[str, float]:
        """The weight of each term."""
        return weights_of(self.terms)

    def parts(self, candidates: Candidates) -> dict[str, Floats]:
        """What each weight multiplies."""
        self.check(candidates.predictions)
        return parts_of(candidates, self.terms, _reads, self._part)

    def _explain(self, candidates: Candidates) -> dict[str, Floats]:
        return explained(candidates, self.terms, _reads, self._part)

    def _part(self, name: str, candidates: Candidates) -> Floats:
        return self.terms[name].part(name, candidates)

    def _with_weights(self, weights: Mapping[str, float]) -> dict[str, Any]:
        return reweighted(self, weights)


def _reads(terms: Mapping[str, Term]) -> Iterator[tuple[str, str]]:
    yield from tasks_of(terms)
    for name, term in terms.items():
        if term.divided_by is not None:
            yield f"terms.{name}.divided_by", term.divided_by
