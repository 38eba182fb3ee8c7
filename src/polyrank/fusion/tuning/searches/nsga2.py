"""NSGA-II."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from polyrank.fusion.tuning.searches._optuna import asking
from polyrank.fusion.tuning.searches.base import Asking, Problem, Search, Told


class NSGA2(Search):
    """Crossing and mutating points, sorted by fronts and crowding (Deb et al., 2002); Optuna's,
    with its constrained domination. Needs the extra ``tune``."""

    kind: Literal["nsga2"] = "nsga2"
    population: Annotated[int, Field(ge=4, le=10_000)] = 50

    def _ask(self, problem: Problem, seed: int, start: Told) -> Asking:
        yield from asking(
            "NSGA-II",
            problem,
            start,
            self.population,
            lambda samplers: samplers.NSGAIISampler(population_size=self.population, seed=seed),
        )
