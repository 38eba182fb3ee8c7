"""Which weights are searched, and where.

Shapes: W weights, B points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import ConfigError, suggest
from polyrank.fusion.tuning.settings import Range, Settings

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Space:
    """A box of factors around a start, on a log scale."""

    start: Mapping[str, float]
    """Every weight of the model."""
    names: tuple[str, ...]
    """Those that are searched."""
    lower_W: Floats
    """Times the start."""
    upper_W: Floats

    @staticmethod
    def of(tunable: Mapping[str, float], settings: Settings) -> Space:
        """The box that the settings say.

        Raises:
            ConfigError: A setting names no weight, one of 0 has no start, a range without the
                start in it, or nothing is left to search.
        """
        for name in settings.weights:
            if name not in tunable:
                raise ConfigError(
                    f"{name!r} is no weight of the value model",
                    where="weights",
                    hint=suggest(name, tunable),
                )
        start = dict(tunable)
        bounds: dict[str, tuple[float, float]] = {}
        for name, weight in tunable.items():
            own = settings.weights.get(name)
            start[name] = _start(name, weight, own)
            if start[name]:
                bounds[name] = _bounds(name, own or Range(), settings)
        names = tuple(name for name, (lower, upper) in bounds.items() if lower < upper)
        if not names:
            raise ConfigError(
                "no weight is left to search: each is 0 or stays",
                where="weights",
                hint="Start from a model with weights, or widen their ranges.",
            )
        lower_W, upper_W = np.array([bounds[name] for name in names]).T
        return Space(start, names, lower_W, upper_W)

    @property
    def start_W(self) -> Floats:
        """The start's point of the unit cube."""
        low_W, high_W = np.log(self.lower_W), np.log(self.upper_W)
        return np.asarray(np.clip(-low_W / (high_W - low_W), 0.0, 1.0))

    def ends(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """By searched weight, the end nearer to 0 and the one farther."""
        start_W = np.array([self.start[name] for name in self.names])
        return tuple((start_W * self.lower_W).tolist()), tuple((start_W * self.upper_W).tolist())

    def weights(self, point_BW: Floats) -> Floats:
        """(B, W) of points of the unit cube."""
        low_W, high_W = np.log(self.lower_W), np.log(self.upper_W)
        start_W = np.array([self.start[name] for name in self.names])
        return np.asarray(start_W * np.exp(low_W + point_BW * (high_W - low_W)))


def _start(name: str, weight: float, own: Range | None) -> float:
    if own is None:
        return weight
    if own.start is not None:
        return own.start
    if not weight:
        raise ConfigError(
            "it is 0 at the start, and times 0 there is nothing to search",
            where=f"weights.{name}",
            hint="Give it a `start`.",
        )
    return weight


def _bounds(name: str, own: Range, settings: Settings) -> tuple[float, float]:
    lower = settings.lower if own.lower is None else own.lower
    upper = settings.upper if own.upper is None else own.upper
    if not lower <= 1 <= upper or not math.isfinite(upper):
        raise ConfigError(
            f"is searched from {lower:g} to {upper:g} times its start, which must lie within",
            where=f"weights.{name}",
            hint="Give `lower` of at most 1 and `upper` of at least 1.",
        )
    return lower, upper
