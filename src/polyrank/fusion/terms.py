"""What value models of weighted terms share: each term is a weight times what it reads.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from polyrank.fusion.base import on_complete
from polyrank.fusion.candidates import Candidates
from polyrank.schema import Declared, Faults
from polyrank.schema.model import Name

Floats = NDArray[np.float64]


class Weighted(Declared):
    """A term of a task with a weight; ``click: 2`` is short for ``click: {weight: 2}``."""

    weight: float
    """Finite; at 0 the term is not computed."""
    task: Name | None = None
    """Whose prediction it reads; null: the task that the term is named after."""

    @model_validator(mode="before")
    @classmethod
    def _a_number_is_a_weight(cls, tree: object) -> object:
        return {"weight": tree} if isinstance(tree, int | float) else tree


TermT = TypeVar("TermT", bound=Weighted)
Reads = Callable[[Mapping[str, TermT]], Iterator[tuple[str, str]]]
Part = Callable[[str, Candidates], Floats]
"""From a term's name and rows with every prediction it reads to (N,) what its weight multiplies."""


def refuse_all_zero(weights: Mapping[str, float], place: str) -> None:
    """Refuse weights under which every candidate has one score.

    Raises:
        Faults: All are 0.
    """
    if not any(weights.values()):
        raise Faults([(place, "every weight is 0, so all candidates would be alike. Weigh one")])


def weights_of(terms: Mapping[str, Weighted]) -> dict[str, float]:
    """By name."""
    return {name: term.weight for name, term in terms.items()}


def tasks_of(terms: Mapping[str, Weighted]) -> Iterator[tuple[str, str]]:
    """Where each task is named, and which."""
    for name, term in terms.items():
        yield f"terms.{name}" + (".task" if term.task else ""), term.task or name


def explained(
    candidates: Candidates, terms: Mapping[str, TermT], reads: Reads[TermT], part: Part
) -> dict[str, Floats]:
    """By name (N,) weight times part.

    A term of weight 0 is 0: its part is not computed, and what it reads may be missing.
    """
    weighed = {name: term for name, term in terms.items() if term.weight}
    return on_complete(
        candidates,
        [task for _, task in reads(weighed)],
        lambda rows: {
            name: term.weight * part(name, rows) if name in weighed else np.zeros(len(rows))
            for name, term in terms.items()
        },
    )


def parts_of(
    candidates: Candidates, terms: Mapping[str, TermT], reads: Reads[TermT], part: Part
) -> dict[str, Floats]:
    """By name (N,) the part, of rows with every prediction; NaN in the others."""
    return on_complete(
        candidates,
        [task for _, task in reads(terms)],
        lambda rows: {name: part(name, rows) for name in terms},
    )


def reweighted(model: Declared, weights: Mapping[str, float]) -> dict[str, Any]:
    """The declaration of a model with ``terms``, with other weights."""
    tree = model.model_dump()
    terms = tree["terms"].items()
    return tree | {"terms": {name: term | {"weight": weights[name]} for name, term in terms}}
