"""Paired runs whose true gain in AUC is known.

A row's log odds are x; a run's predictions are those of x + sigma n. Of the noise n, a part is the
run's own, a part its arm's (joint or twin, the same for all seeds), and sigma varies between runs.
So users, seeds and both together make the difference vary, and AUC depends on sigma alone.

Shapes: N rows, G points of a grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from polyrank.audit.resampling import Pair
from polyrank.evaluation import Observations

Floats = NDArray[np.float64]
MEAN, SPREAD = -1.0, 1.2
"""Of the log odds, over all rows."""


@dataclass(frozen=True)
class Task:
    name: str = "click"
    kind: str = "binary"


@dataclass(frozen=True)
class World:
    """How runs differ.

    Args:
        users: Number of them.
        rows_each: Rows of each.
        common: Share of the noise's variance that all runs of an arm have in common.
        wobble: Spread of log sigma between runs.
        joint: Mean sigma of the joint runs.
        twin: Mean sigma of the twins.
    """

    users: int = 60
    rows_each: int = 8
    common: float = 0.3
    wobble: float = 0.05
    joint: float = 0.8
    twin: float = 0.8

    def pairs(self, rng: np.random.Generator, seeds: int) -> dict[int, Pair]:
        """Runs of one draw of users."""
        user_N = np.repeat(np.arange(self.users), self.rows_each)
        own = rng.normal(0, SPREAD * 0.6, self.users)[user_N]
        x_N = MEAN + own + rng.normal(0, SPREAD * 0.8, len(user_N))
        label_N = (rng.random(len(user_N)) < 1 / (1 + np.exp(-x_N))).astype(float)
        arms = [(sigma, rng.normal(size=len(user_N))) for sigma in (self.joint, self.twin)]
        found = {}
        for seed in range(seeds):
            runs = []
            for sigma, shared_N in arms:
                own_N = rng.normal(size=len(user_N))
                noise_N = math.sqrt(self.common) * shared_N + math.sqrt(1 - self.common) * own_N
                z_N = x_N + sigma * math.exp(self.wobble * rng.normal()) * noise_N
                runs.append(observed(1 / (1 + np.exp(-z_N)), label_N, user_N))
            found[seed] = Pair(*runs)
        return found

    @property
    def gain(self) -> float:
        """The true gain of the joint runs in AUC."""
        return _mean_auc(self.joint, self.wobble) - _mean_auc(self.twin, self.wobble)


def observed(prediction_N: Floats, label_N: Floats, user_N: NDArray[np.int64]) -> Observations:
    """One task of one run."""
    return Observations(
        predictions={"click": prediction_N},
        labels={"click": label_N},
        masks={"click": np.ones(len(label_N), dtype=bool)},
        groups={"user": user_N},
        slices={"half": np.where(user_N % 2 == 0, "even", "odd")},
    )


@cache
def _mean_auc(sigma: float, wobble: float) -> float:
    points, weights = np.polynomial.hermite_e.hermegauss(9)
    values = [_auc(sigma * math.exp(wobble * point)) for point in points]
    return float(np.average(values, weights=weights))


def _auc(sigma: float) -> float:
    """P(a positive's score exceeds a negative's), by integration over both log odds."""
    x_G = np.linspace(MEAN - 7 * SPREAD, MEAN + 7 * SPREAD, 400)
    density_G = np.exp(-(((x_G - MEAN) / SPREAD) ** 2) / 2)
    rate_G = 1 / (1 + np.exp(-x_G))
    positive_G, negative_G = density_G * rate_G, density_G * (1 - rate_G)
    above_GG = ndtr((x_G[:, None] - x_G) / (math.sqrt(2) * sigma))
    return float(positive_G @ above_GG @ negative_G / positive_G.sum() / negative_G.sum())
