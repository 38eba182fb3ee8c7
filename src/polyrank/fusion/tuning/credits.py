"""What every objective comes to: rows that earn by their place in a list.

An objective is a sum over lists G of constant_G + sum over rows i of credit_i x D_i, where D_i is
the mean of the place values over the places that row i and those with its score share: a row with
``above`` higher ones, in a run of ``tied`` equal ones (itself included), shares the places
above + 1 to above + tied. That is the expectation over all orders of equal rows (McSherry and
Najork, 2008).

Shapes: N rows, G lists, L places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NO_LIST = -1


@dataclass(frozen=True)
class Places:
    """What each place of a list is worth."""

    law: Literal["discount", "top", "rank"]
    """``discount``: 1 / log2(place + 1); ``top``: 1; ``rank``: minus the places above."""
    depth: int | None = None
    """Places below are worth 0; null: all count."""

    def values(self, length: int) -> Floats:
        """(L,) from the first place down."""
        place_L = np.arange(1, length + 1, dtype=np.float64)
        if self.law == "rank":
            return 1.0 - place_L
        worth_L = 1 / np.log2(place_L + 1) if self.law == "discount" else np.ones(length)
        return np.where(place_L <= (self.depth or length), worth_L, 0.0)

    def mean(self, above: NDArray[np.integer], tied: NDArray[np.integer], length: int) -> Floats:
        """D of rows with so many above them and so many with their score, themselves included."""
        if self.law == "rank":
            return -(above + (tied - 1) / 2)
        before_L = np.concatenate([[0.0], np.cumsum(self.values(length))])
        run = before_L[np.asarray(above, np.int64) + tied] - before_L[above]
        single = self.values(length)[np.minimum(above, length - 1)]
        return np.asarray(np.where(tied == 1, single, run / tied))


@dataclass(frozen=True, eq=False)
class Credits:
    """An objective on the rows of a log."""

    list_N: Ints
    """The list of each row, numbered from 0; -1: it is in none."""
    credit_N: Floats
    """What a row gets of its place's value; 0 outside of lists."""
    places: Places
    constant_G: Floats
    share_G: Floats
    """The weight of each list in the mean: the objective of some lists alone is their part of the
    sum over their part of the shares. Together 1."""


def numbered(code_N: Ints, inside_N: NDArray[np.bool_]) -> tuple[Ints, int]:
    """Lists from 0 for the rows inside, -1 for the others; and how many lists there are."""
    list_N = np.full(len(code_N), NO_LIST, dtype=np.int64)
    found, list_N[inside_N] = np.unique(code_N[inside_N], return_inverse=True)
    return list_N, len(found)
