"""Where rows stand in short lists, in single precision and yet exactly.

Scores by one matrix product in float32 lie within a known bound of those that serving rounds to in
float64. Two rows whose float32 scores differ by more than twice the bound stand in that order; the
few others are scored again as ``ValueModel.score`` adds its terms, and compared in float64.

Shapes: B weight vectors, T parts, R lists of a block, L places of the longest, C rows that earn,
M pairs of a row that earns and a vector whose order is not sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.intp]
Counts = NDArray[np.uint8]
ROUNDING = 2.0**-24
"""Of float32, relative."""
LEAST = np.float32(1e-36)
"""Far above what float32 loses near zero, where rounding is absolute."""
EXPONENTS = (-900, 1000)
"""Powers of two of the largest term between which float64 neither overflows nor underflows."""
MOST_UNSURE = 1 / 8
"""Of the rows that earn: with more, comparing all of them in float64 is faster."""


class Stood(NamedTuple):
    """Where rows that earn stand, each in its list."""

    above_BC: Counts
    """Rows above, where ``M`` does not say."""
    vector_M: Ints
    row_M: Ints
    above_M: Ints
    tied_M: Ints
    """Rows with the same score, itself included: elsewhere 1."""


class Quick:
    """Compares the rows that earn with those of their lists under many weight vectors."""

    def __init__(self, parts: Sequence[Floats], widths: Sequence[int]) -> None:
        """Take parts (L, R) and, by place from the first, how many lists have a row that earns.

        Places after a list's last row are NaN.
        """
        self._parts, self._widths = parts, widths
        self._list_C = np.concatenate([np.arange(width) for width in widths])
        self._place_C = np.repeat(np.arange(len(widths)), widths)
        most_T = np.array([np.nanmax(np.abs(part)) for part in parts])
        self._exponent_T = np.frexp(most_T)[1]
        scaled = [
            np.ldexp(part, -exponent)
            for part, exponent in zip(parts, self._exponent_T, strict=True)
        ]
        self._part_LRT = np.ascontiguousarray(np.stack(scaled, axis=-1), dtype=np.float32)
        self._bound_RT = np.nanmax(np.abs(self._part_LRT), axis=0)
        # Rounding of weights, parts, products and sums, of two rows; and of the bound itself.
        self._bound_RT *= np.float32(ROUNDING * (2 * len(parts) + 12))

    def stood(self, weight_BT: Floats) -> Stood | None:
        """Exact; null: too many scores lie too close, or one over- or underflows."""
        weight_TB = self._scaled(weight_BT)
        if weight_TB is None:
            return None
        above_CB, least_CB = self._bounds(weight_TB)
        unsure_M = np.flatnonzero(least_CB.ravel() != above_CB.ravel() + np.uint8(1))
        if len(unsure_M) > MOST_UNSURE * above_CB.size:
            return None
        row_M, vector_M = np.divmod(unsure_M, len(weight_BT))
        above_M, tied_M = self._exact(weight_BT, vector_M, row_M)
        return Stood(np.ascontiguousarray(above_CB.T), vector_M, row_M, above_M, tied_M)

    def _scaled(self, weight_BT: Floats) -> Singles | None:
        """(T, B) for the scaled parts: the largest term of each vector is about 1."""
        mantissa_BT, exponent_BT = np.frexp(weight_BT)
        exponent_BT = np.where(mantissa_BT != 0, exponent_BT + self._exponent_T, EXPONENTS[0])
        most_B = exponent_BT.max(axis=1)
        if most_B.min() <= EXPONENTS[0] or most_B.max() >= EXPONENTS[1]:
            return None
        scaled_BT = np.ldexp(mantissa_BT, exponent_BT - most_B[:, None])
        return np.ascontiguousarray(scaled_BT.T, dtype=np.float32)

    def _bounds(self, weight_TB: Singles) -> tuple[Counts, Counts]:
        """(C, B) how many rows stand surely above, and how many do not stand surely below."""
        score_LRB = self._part_LRT @ weight_TB
        away_RB = self._bound_RT @ np.abs(weight_TB) + LEAST
        num_places, num_lists, num_vectors = score_LRB.shape
        count_2CB = np.empty((2, len(self._list_C), num_vectors), dtype=np.uint8)
        limit_2RB = np.empty((2, num_lists, num_vectors), dtype=np.float32)
        higher = np.empty(num_places * limit_2RB.size, dtype=np.bool_)
        first = 0
        for place, width in enumerate(self._widths):
            mine, away, limit = score_LRB[place, :width], away_RB[:width], limit_2RB[:, :width]
            np.add(mine, away, out=limit[0])
            np.subtract(mine, away, out=limit[1])
            found = higher[: num_places * limit.size].reshape(num_places, *limit.shape)
            np.greater(score_LRB[:, None, :width], limit, out=found)
            count = count_2CB[:, first : first + width]
            np.add.reduce(found.view(np.uint8), axis=0, dtype=np.uint8, out=count)
            first += width
        return count_2CB[0], count_2CB[1]

    def _exact(self, weight_BT: Floats, vector_M: Ints, row_M: Ints) -> tuple[Ints, Ints]:
        """Rows above and tied, by scores in float64."""
        list_M = self._list_C[row_M]
        score_LM = weight_BT[vector_M, 0] * self._parts[0][:, list_M]
        for place, part in enumerate(self._parts[1:], start=1):
            score_LM += weight_BT[vector_M, place] * part[:, list_M]
        mine_M = score_LM[self._place_C[row_M], np.arange(len(row_M))]
        return (score_LM > mine_M).sum(axis=0), (score_LM == mine_M).sum(axis=0)
