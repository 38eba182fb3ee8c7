"""What inputs and predictions looked like when the bundle was made; later logs are held against it.

Shapes: B bins.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from polyrank.schema import Declared

Part = Literal["input", "prediction"]


class Rate(Declared):
    """A share of rows (of ids, where a row has several)."""

    count: NonNegativeInt
    of: NonNegativeInt
    effective: NonNegativeFloat
    """So many independent ones would tell as much: less than ``of`` where those of one user are
    alike."""

    @property
    def share(self) -> float:
        """Null rows give NaN."""
        return self.count / self.of if self.of else float("nan")


class Distribution(Declared):
    """How the values of one column are spread over bins."""

    name: str
    """The feature's, with an aside where only one side of it is counted; or the task's."""
    part: Part
    kind: Literal["number", "category"]
    edges: tuple[float, ...] = ()
    """Of numbers: rising; bin k holds what is above edge k - 1 and at most edge k, the first bin
    all below, the last all above."""
    values: tuple[str, ...] = ()
    """Of categories: the most frequent ones, a bin each; a last bin holds all others."""
    counts: tuple[NonNegativeInt, ...]
    effective: NonNegativeFloat
    """As in ``Rate``, of all counts together."""
    missing: Rate
    unseen: Rate | None = None
    """Ids outside the model's vocabulary; null where it has none."""
    compared: bool = True
    """False of ids of users, items and requests: they come and go, and only rates are compared."""

    @model_validator(mode="after")
    def _bins_match(self) -> Self:
        bounds = self.edges if self.kind == "number" else self.values
        if len(self.counts) != len(bounds) + 1:
            raise ValueError(
                f"{self.name!r} has {len(self.counts)} counts for {len(bounds)} bounds; there is "
                "one more bin than bounds"
            )
        if any(high <= low for low, high in pairwise(self.edges)):
            raise ValueError(f"the edges of {self.name!r} must rise")
        return self

    @property
    def total(self) -> int:
        """Values counted; missing ones are not among them."""
        return sum(self.counts)


class Profile(Declared):
    """Distributions of the columns of some rows."""

    on: str
    """Which rows, in words."""
    rows: NonNegativeInt
    unit: Literal["user", "request", "row"]
    """What was taken to be independent."""
    units: NonNegativeInt
    """How many of them."""
    distributions: Annotated[tuple[Distribution, ...], Field(max_length=10_000)] = ()

    def without_predictions(self, tasks: Collection[str]) -> Profile:
        """The same, without the predictions of tasks that are predicted otherwise since."""
        kept = (d for d in self.distributions if d.part == "input" or d.name not in tasks)
        return self.model_copy(update={"distributions": tuple(kept)})
