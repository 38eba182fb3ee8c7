"""Lists laid side by side, so that they are ranked without a loop over them.

Only lists with a row that earns something are laid out, and in each the rows that earn stand
first: how many rows stand above one of those is all that is ever asked.

Shapes: N rows, R lists of a block, L places of its longest list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
ROWS = 8192
"""Of a block, about: its scores by eight weight vectors lie in a processor's second cache."""


@dataclass(frozen=True, eq=False)
class Laid:
    """A block of lists about as long, those with the most earning rows first."""

    rows_RL: Ints
    """Row numbers, -1 after a list's last one. A list fills more than half of its places."""
    earning_R: Ints
    """How many of a list's first places hold rows that earn."""


def laid_out(list_N: Ints, earns_N: NDArray[np.bool_]) -> Iterator[Laid]:
    """The lists with a row that earns, in blocks."""
    row_M = np.flatnonzero(list_N >= 0)
    row_M = row_M[np.lexsort((~earns_N[row_M], list_N[row_M]))]
    if not len(row_M):
        return
    start_G = np.flatnonzero(np.append(True, np.diff(list_N[row_M]) != 0))
    size_G = np.diff(start_G, append=len(row_M))
    earning_G = np.add.reduceat(earns_N[row_M].astype(np.int64), start_G)
    class_G = np.ceil(np.log2(size_G)).astype(np.int64)
    for size_class in np.unique(class_G[earning_G > 0]):
        chosen = np.flatnonzero((class_G == size_class) & (earning_G > 0))
        chosen = chosen[np.argsort(-earning_G[chosen], kind="stable")]
        step = max(1, ROWS >> int(size_class))
        for first in range(0, len(chosen), step):
            part = chosen[first : first + step]
            yield _block(row_M, start_G[part], size_G[part], earning_G[part])


def _block(row_M: Ints, start_R: Ints, size_R: Ints, earning_R: Ints) -> Laid:
    place_L = np.arange(size_R.max())
    at_RL = np.minimum(start_R[:, None] + place_L, len(row_M) - 1)
    return Laid(np.where(place_L < size_R[:, None], row_M[at_RL], -1), earning_R)
