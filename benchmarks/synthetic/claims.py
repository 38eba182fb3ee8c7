"""The paper's three claims, each as a number with a 95 % interval over the seeds.

Shapes: S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Losses = Mapping[tuple[str, float], Floats]
"""(S,) final loss by model and correlation; place s is the same pair of tasks in every cell."""

RESAMPLES = 10_000


@dataclass(frozen=True)
class Estimate:
    """A statistic of the cells and its bootstrap interval, seeds drawn with replacement."""

    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} ({self.lower:+.4f} to {self.upper:+.4f})"


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, and what was found."""

    sentence: str
    found: Estimate
    holds: bool


def estimate(statistic: Callable[[NDArray[np.int64]], float], num_seeds: int) -> Estimate:
    """``statistic`` of the seeds drawn: all once for the value, with replacement for the bounds."""
    random = np.random.default_rng(0)
    draws = [statistic(random.integers(0, num_seeds, num_seeds)) for _ in range(RESAMPLES)]
    lower, upper = np.quantile(draws, (0.025, 0.975))
    return Estimate(statistic(np.arange(num_seeds)), float(lower), float(upper))


def gap(losses: Losses, worse: str, better: str, correlation: float) -> Estimate:
    """Mean final loss of ``worse`` less that of ``better``, pair by pair."""
    less_S = losses[worse, correlation] - losses[better, correlation]
    return estimate(lambda seeds: float(less_S[seeds].mean()), len(less_S))


def claims(losses: Losses, correlations: Sequence[float]) -> list[Claim]:
    """Each claim; it holds where its interval leaves out 0 on the claimed side."""
    low, high = min(correlations), max(correlations)
    return [_gap_grows(losses, low, high), *_one_gate(losses, low, high), _spread(losses, low)]


def _gap_grows(losses: Losses, low: float, high: float) -> Claim:
    def growth(seeds: NDArray[np.int64]) -> float:
        at_low, at_high = (
            losses["shared-bottom", p][seeds] - losses["MMoE", p][seeds] for p in (low, high)
        )
        return float((at_low - at_high).mean())

    found = estimate(growth, len(losses["MMoE", low]))
    sentence = f"shared-bottom's loss less MMoE's is larger at p = {low:g} than at p = {high:g}"
    return Claim(sentence, found, found.lower > 0)


def _one_gate(losses: Losses, low: float, high: float) -> list[Claim]:
    apart, together = (gap(losses, "OMoE", "MMoE", p) for p in (low, high))
    return [
        Claim(f"OMoE is behind MMoE at p = {low:g}", apart, apart.lower > 0),
        Claim(f"OMoE is not behind MMoE at p = {high:g}", together, together.lower <= 0),
    ]


def _spread(losses: Losses, low: float) -> Claim:
    def more(seeds: NDArray[np.int64]) -> float:
        return float(
            np.std(losses["shared-bottom", low][seeds]) - np.std(losses["MMoE", low][seeds])
        )

    found = estimate(more, len(losses["MMoE", low]))
    sentence = (
        f"the spread of final losses is larger for shared-bottom than for MMoE at p = {low:g}"
    )
    return Claim(sentence, found, found.lower > 0)
