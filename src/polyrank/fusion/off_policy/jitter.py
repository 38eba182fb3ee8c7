"""Weights of a value model that are drawn anew for each request, so that their chance is known.

Shapes: N requests, K weights.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from polyrank.errors import ConfigError, DataError, suggest
from polyrank.schema import Declared

Floats = NDArray[np.float64]
Weights = Mapping[str, float]
Drawn = Mapping[str, float | Floats]
WHERE = "jitter"
LEAST, MOST = 1e-9, 1e9
"""Sizes of weights: the density of a few dozen of them is a number."""
SLACK = 1e-9
"""Of a weight, how far outside of its range rounding may put it."""


class Side(NamedTuple):
    """The range that one weight is drawn from."""

    low: float
    high: float
    slack: float

    @property
    def width(self) -> float:
        """0: the weight is not drawn."""
        return self.high - self.low

    def holds(self, other: Side) -> bool:
        """Whether all of the other lies within, but for rounding."""
        slack = self.slack + other.slack
        return other.low >= self.low - slack and other.high <= self.high + slack


class WeightJitter(Declared):
    """Each weight is uniform between centre x (1 - scale) and centre x (1 + scale).

    Tencent explores the weights of its value model by uniform noise of 0.15 (RL-MTF). Weights are
    drawn independently, so a set of them has the density product of 1 / (2 x scale x |centre|)
    inside the box and 0 outside. A weight of 0 stays 0 and has no part in it.

    A reward of the request may then be estimated for any other centre and scale whose box lies
    within this one's: ``importance``. The narrower it is, the fewer rows are left, by the ratio of
    widths for each weight: ``effective_share``.
    """

    scale: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Half the width of a weight's range, in units of the weight: signs never change."""
    seed: int = 0
    """Other seeds draw other weights; without part in densities."""

    def draw(self, centre: Weights, request: str | int) -> dict[str, float]:
        """The weights of one request: a function of seed, request, centre and scale alone.

        A request has the same weights whether its id is a number or the text of it; a weight keeps
        its draw when others are added.

        Args:
            centre: By name, such as ``tunable`` of a value model; ``tuned`` takes what is drawn.
            request: Its id. Requests of one id share one draw.
        """
        drawn = {}
        for name, side in self._sides(centre).items():
            share = _uniform(self.seed, request, name)
            drawn[name] = side.low + share * side.width if side.width else side.low
        return drawn

    def density(self, centre: Weights, drawn: Drawn) -> Floats:
        """(N,) exact density of drawn weights around ``centre``; 0 outside of the box.

        Args:
            centre: By name.
            drawn: The same names: a number, or (N,) a weight of each request.

        Raises:
            DataError: Names differ or shapes do not fit.
        """
        sides = self._sides(centre)
        density_N = np.ones(())
        for name, weight_N in _columns(sides, drawn).items():
            low, high, slack = sides[name]
            inside_N = (weight_N >= low - slack) & (weight_N <= high + slack)
            density_N = density_N * inside_N / (high - low or 1.0)
        return np.asarray(density_N)

    def importance(
        self, centre: Weights, drawn: Drawn, other: WeightJitter, other_centre: Weights
    ) -> Floats:
        """(N,) density of drawn weights under the other jitter, over that under this one.

        Raises:
            ConfigError: The other's box is not within this one's: weights that this one never
                draws cannot be judged by what it logged.
            DataError: Weights were not drawn by this jitter around ``centre``.
        """
        self._refuse_outside(centre, other, other_centre)
        density_N = self.density(centre, drawn)
        if not (density_N > 0).all():
            raise DataError(
                f"{int((density_N == 0).sum()):,} of {density_N.size:,} rows have weights that "
                f"a jitter of {self.scale:g} around this centre never draws",
                where=WHERE,
                hint="Give the centre and the scale that were logged with.",
            )
        return np.asarray(other.density(other_centre, drawn) / density_N)

    def effective_share(self, centre: Weights, other: WeightJitter, other_centre: Weights) -> float:
        """Effective rows a logged row for the other jitter: the ratio of the boxes' volumes.

        So it is known before anything is logged.

        Raises:
            ConfigError: As ``importance``.
        """
        self._refuse_outside(centre, other, other_centre)
        mine, others = self._sides(centre), other._sides(other_centre)
        return math.prod(
            min(others[name].width / side.width, 1.0) for name, side in mine.items() if side.width
        )

    def _sides(self, centre: Weights) -> dict[str, Side]:
        sides = {}
        for name, weight in centre.items():
            if weight != 0 and not LEAST <= abs(weight) <= MOST:
                raise ConfigError(
                    f"must be 0 or of a size from {LEAST:g} to {MOST:g}, got {weight}",
                    where=f"{WHERE}: weight {name!r}",
                    hint="Scale all weights alike: only their proportions matter.",
                )
            reach = abs(weight) * self.scale
            sides[name] = Side(weight - reach, weight + reach, abs(weight) * SLACK)
        return sides

    def _refuse_outside(self, centre: Weights, other: WeightJitter, other_centre: Weights) -> None:
        mine, others = self._sides(centre), other._sides(other_centre)
        _require_names(mine, others, ConfigError)
        for name, side in mine.items():
            there = others[name]
            if not side.holds(there) or (side.width and not there.width):
                raise ConfigError(
                    f"the log draws it from {side.low:g} to {side.high:g}, which does not hold "
                    f"{there.low:g} to {there.high:g}",
                    where=f"{WHERE}: weight {name!r}",
                    hint="Move the centre less, or narrow the other scale.",
                )


def _uniform(seed: int, request: str | int, name: str) -> float:
    """Above 0 and below 1, by address: no draw depends on another."""
    address = json.dumps([seed, str(request), name]).encode()
    bits = int.from_bytes(hashlib.blake2b(address, digest_size=8).digest(), "big") >> 12
    return (bits + 0.5) * 2.0**-52


def _columns(sides: Mapping[str, Side], drawn: Drawn) -> dict[str, Floats]:
    """(N,) or () by name, in the order of ``sides``."""
    _require_names(sides, drawn, DataError)
    columns = {name: np.asarray(drawn[name], dtype=np.float64) for name in sides}
    shapes = {column.shape for column in columns.values() if column.ndim}
    if len(shapes) > 1 or any(len(shape) > 1 for shape in shapes):
        raise DataError(
            f"drawn weights have shapes {', '.join(map(str, sorted(shapes)))}",
            where=WHERE,
            hint="Give one weight for each request.",
        )
    return columns


def _require_names(
    known: Mapping[str, object], given: Mapping[str, object], kind: type[ConfigError | DataError]
) -> None:
    for name in sorted(known.keys() ^ given.keys()):
        where = f"{WHERE}: weight {name!r}"
        if name in known:
            raise kind("is missing", where=where, hint=suggest(name, given))
        raise kind("is not in the centre", where=where, hint=suggest(name, known))
