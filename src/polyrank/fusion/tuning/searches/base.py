"""The seam of searches: points of the unit cube out, what they did in.

Shapes: B points of a batch, W weights, M objectives, J guardrails.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from polyrank.schema import Declared

Floats = NDArray[np.float64]


class Told(NamedTuple):
    """What a batch of points did."""

    objective_BM: Floats
    """All to be maximised."""
    slack_BJ: Floats
    """How far each guardrail is held, as a share of today's value; negative: missed."""

    @property
    def missed_B(self) -> Floats:
        """By how much guardrails are missed, in all; 0: feasible."""
        return np.asarray(np.maximum(-self.slack_BJ, 0.0).sum(axis=1))


@dataclass(frozen=True, eq=False)
class Problem:
    """What is searched."""

    weights: tuple[str, ...]
    objectives: tuple[str, ...]
    guardrails: tuple[str, ...]
    start_W: Floats
    """Where the start stands in the cube: each weight on a log scale, 0 and 1 at its ends."""


Asking = Generator[Floats, Told, None]
"""Yields batches (B, W) of the unit cube and is sent what they did."""


class Search(Declared, ABC):
    """How the next weights are chosen. The same seed and answers give the same points."""

    kind: str
    trials: PositiveInt = 2000
    """Weight vectors that are tried, the start included."""

    def ask(self, problem: Problem, seed: int) -> Asking:
        """Batches, the first of which is the start alone, without an end."""
        told = yield problem.start_W[None]
        yield from self._ask(problem, seed, told)

    @abstractmethod
    def _ask(self, problem: Problem, seed: int, start: Told) -> Asking:
        """Batches after the start."""


def ordered(missed_B: Floats, score_B: Floats) -> NDArray[np.int64]:
    """Feasible points first, by their score from the best down; then by what they miss (Deb, 2000,
    "An efficient constraint handling method for genetic algorithms")."""
    return np.lexsort((-score_B, missed_B))
