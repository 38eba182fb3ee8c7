"""Ranks within the request instead of predictions: nothing has to be calibrated.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from polyrank.fusion.base import ValueModel
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
from polyrank.schema.model import Name

Floats = NDArray[np.float64]


class Rank(Weighted):
    """weight / (rank + offset) ** beta; a negative weight where less is better."""

    beta: PositiveFloat = 1.0
    """How steeply it falls with the rank."""


class RankEnsemble(ValueModel):
    """The sum over tasks of weight / (rank + offset) ** beta, as in Kuaishou's ensemble sort.

    The highest prediction of a request has rank 1; equal ones share the mean of their ranks. A row
    without all predictions has no score and takes no rank. With beta 1 and offset 60 it is
    reciprocal rank fusion (Cormack et al., SIGIR 2009). A score depends on the other candidates of
    the request: it may not be kept for another one.
    """

    kind: Literal["rank_ensemble"] = "rank_ensemble"
    terms: dict[Name, Rank] = Field(min_length=1)
    """By name of the term: its weight, or more."""
    offset: NonNegativeFloat = 60.0
    """Added to every rank: the smaller, the more the first ranks count."""

    if TYPE_CHECKING:

        def __init__(self, *, terms: Mapping[str, Rank | float], offset: float = 60.0) -> None: ...

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        refuse_all_zero(self.tunable, "terms")
        return self

    def reads(self) -> Iterator[tuple[str, str]]:
        """Tasks of the terms."""
        return tasks_of(self.terms)

    @property
    def depends_on_request(self) -> bool:
        """A rank does."""
        return True

    @property
    def tunable(self) -> dict[str, float]:
        """The weight of each term."""
        return weights_of(self.terms)

    def parts(self, candidates: Candidates) -> dict[str, Floats]:
        """1 / (rank + offset) ** beta of each term."""
        self.check(candidates.predictions)
        return parts_of(candidates, self.terms, tasks_of, self._part)

    def _explain(self, candidates: Candidates) -> dict[str, Floats]:
        return explained(candidates, self.terms, tasks_of, self._part)

    def _part(self, name: str, candidates: Candidates) -> Floats:
        term = self.terms[name]
        rank_N = candidates.requests.ranks(candidates.predictions[term.task or name])
        return np.asarray((rank_N + self.offset) ** -term.beta)

    def _with_weights(self, weights: Mapping[str, float]) -> dict[str, Any]:
        return reweighted(self, weights)
