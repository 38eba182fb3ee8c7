"""NSGA-II."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from polyrank.fusion.tuning.searches._optuna import asking
from polyrank.fusion.tuning.searches.base import Asking, Problem, Search, Told

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class NSGA2(Search):
    """Crossing and mutating points, sorted by fronts and crowding (Deb et al., 2002); Optuna's,
    with the paper's crossover (SBX), polynomial mutation and constrained domination. Needs the
    extra ``tune``."""

    kind: Literal["nsga2"] = "nsga2"
    population: Annotated[int, Field(ge=4, le=10_000)] = 50

    def _ask(self, problem: Problem, seed: int, start: Told) -> Asking:
        yield from asking("NSGA-II", problem, start, self.population, self._sampler(seed))

    def _sampler(self, seed: int) -> Callable[[Any], BaseSampler]:
        def build(samplers: Any) -> BaseSampler:
            with warnings.catch_warnings():
                # The paper's operators are marked experimental in Optuna 5.
                warnings.simplefilter("ignore")
                found: BaseSampler = samplers.NSGAIISampler(
                    population_size=self.population,
                    crossover=samplers.nsgaii.SBXCrossover(),
                    mutation=samplers.nsgaii.PolynomialMutation(),
                    seed=seed,
                )
            return found

        return build
