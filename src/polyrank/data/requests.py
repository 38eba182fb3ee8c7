"""Requests whose rows stand together, in the order of an epoch.

Shapes: N rows, G requests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyrank.data.encoding.lists import ranges
from polyrank.evaluation import NO_GROUP

Ints = NDArray[np.int64]


def lengths_of_requests(codes_N: Ints) -> Ints:
    """(G,) rows of each run of one code, of at least one row; a row without a request is a run of
    its own."""
    new_N = np.concatenate([[True], (codes_N[1:] != codes_N[:-1]) | (codes_N[1:] == NO_GROUP)])
    return np.diff(np.flatnonzero(new_N), append=len(codes_N))


@dataclass(frozen=True)
class Requests:
    """The requests of rows in memory, in an order of their own."""

    firsts_G: Ints
    """Where each one begins among the rows."""
    lengths_G: Ints
    lasts_G: Ints
    """The place of each one's last row when the requests are put in order; rising."""

    @classmethod
    def of(cls, codes_N: Ints, order: Callable[[int], Ints]) -> Requests:
        """The runs of equal codes.

        Args:
            codes_N: Of each row.
            order: A permutation of so many.
        """
        lengths_G = lengths_of_requests(codes_N)
        firsts_G = np.cumsum(lengths_G) - lengths_G
        order_G = order(len(lengths_G))
        lengths_G = lengths_G[order_G]
        return cls(firsts_G[order_G], lengths_G, np.cumsum(lengths_G) - 1)

    def rows(self, start: int, stop: int, rank: int, world: int) -> Ints:
        """Where the rows stand of the requests that end from place ``start`` up to ``stop``, every
        ``world``-th request from ``rank`` on."""
        low, high = np.searchsorted(self.lasts_G, [start, stop])
        mine = slice(low + rank, high, world)
        return ranges(self.firsts_G[mine], self.lengths_G[mine])
