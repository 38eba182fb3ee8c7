"""The cross-entropy method, a direction of the objectives at a time.

Shapes: P points so far, E elite points, W weights, M objectives.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from polyrank.fusion.tuning.searches.base import Asking, Floats, Problem, Search, Told, ordered

AUGMENTED = 0.05
"""Of the sum beside the worst objective, so that no weakly dominated point is best."""


class CEM(Search):
    """A normal distribution is fitted to the best points and drawn from (Rubinstein, 1999).

    Weights stand on their log scale. The first population is uniform. Every later one has its own
    direction: shares of the objectives, drawn evenly from all there are, each objective alone in
    turn now and then. Points are ordered feasible first, by the augmented Tchebycheff distance to
    the best of each objective in that direction, each scaled by its range among the best; the elite
    is taken from all points so far, since none needs measuring again, so that a direction starts
    from what its neighbours found. With one objective it is the plain method with memory.
    """

    kind: Literal["cem"] = "cem"
    population: Annotated[int, Field(ge=10, le=10_000)] = 100
    elite_share: Annotated[float, Field(gt=0, le=0.5)] = 0.15
    """Of the population: how many points the distribution is fitted to, at least 4."""
    least_spread: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    """The least standard deviation of a weight, as a share of its range on the log scale."""

    def _ask(self, problem: Problem, seed: int, start: Told) -> Asking:
        rng = np.random.default_rng(seed)
        num_weights = len(problem.weights)
        batch = rng.random((self.population, num_weights))
        told = yield batch
        point_PW = np.vstack([problem.start_W, batch])
        value_PM = np.vstack([start.objective_BM, told.objective_BM])
        missed_P = np.concatenate([start.missed_B, told.missed_B])
        for generation in range(self.trials):
            share_M = _direction(rng, generation, len(problem.objectives))
            elite_EW = point_PW[self._elite(value_PM, missed_P, share_M)]
            batch = self._drawn(rng, elite_EW)
            told = yield batch
            point_PW = np.vstack([point_PW, batch])
            value_PM = np.vstack([value_PM, told.objective_BM])
            missed_P = np.append(missed_P, told.missed_B)

    def _elite(self, value_PM: Floats, missed_P: Floats, share_M: Floats) -> NDArray[np.int64]:
        count = max(4, round(self.elite_share * self.population))
        among_PM = value_PM[missed_P == 0] if (missed_P == 0).sum() >= count else value_PM
        high_M = among_PM.max(axis=0)
        width_M = high_M - np.quantile(among_PM, 0.5, axis=0)
        short_PM = (high_M - value_PM) / np.where(width_M > 0, width_M, 1.0) * share_M
        score_P = -short_PM.max(axis=1) - AUGMENTED * short_PM.sum(axis=1)
        return ordered(missed_P, score_P)[:count]

    def _drawn(self, rng: np.random.Generator, elite_EW: Floats) -> Floats:
        """Half of the covariance's off-diagonal is kept: there are few elite points."""
        num_weights = elite_EW.shape[1]
        away_EW = elite_EW - elite_EW.mean(axis=0)
        cov_WW = away_EW.T @ away_EW / len(elite_EW)
        cov_WW = (cov_WW + np.diag(np.diag(cov_WW))) / 2
        cov_WW += np.eye(num_weights) * self.least_spread**2
        root_WW = np.linalg.cholesky(cov_WW)
        normal_BW = rng.standard_normal((self.population, num_weights))
        return np.asarray(np.clip(elite_EW.mean(axis=0) + normal_BW @ root_WW.T, 0.0, 1.0))


def _direction(rng: np.random.Generator, generation: int, num_objectives: int) -> Floats:
    """Shares of the objectives: each alone once in a round, and twice as many between them."""
    turn = generation % (3 * num_objectives)
    if turn < num_objectives:
        return np.asarray(np.eye(num_objectives)[turn])
    return rng.dirichlet(np.ones(num_objectives))
