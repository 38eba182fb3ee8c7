"""Random numbers by address: the same numbers at the same place, in whatever order it is visited.

Philox is counter-based (Salmon et al., SC 2011): a generator is a function of seed, stream and
block, and no draw depends on the draws of another block.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

_MASK = np.uint64(2**62 - 1)
_ODD_1 = np.uint64(0x9E3779B97F4A7C15 & (2**62 - 1))
_ODD_2 = np.uint64(0xBF58476D1CE4E5B9 & (2**62 - 1))
_SHIFT = np.uint64(31)
_TINY = 2.0**-54


class Stream(IntEnum):
    """What random numbers are for; streams share nothing."""

    USERS = 1
    ITEMS = 2
    HISTORY = 3
    PILOT = 4
    LOG = 5
    DELAY = 6
    LOYALTY = 7
    EXPERIMENT = 8
    ASSIGNMENT = 9


def generator(seed: int, stream: Stream, block: int = 0) -> np.random.Generator:
    """The generator of one block of one stream."""
    key = np.array([seed, stream], dtype=np.uint64)
    counter = np.array([0, 0, block, 0], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def distinct_ids(index: npt.NDArray[np.int64], salt: int) -> npt.NDArray[np.int64]:
    """Arbitrary distinct ids in [0, 2**62), one an index: a bijection, so they never collide."""
    mixed = index.astype(np.uint64) * _ODD_1 + np.uint64(salt % 2**62) & _MASK
    mixed = (mixed ^ (mixed >> _SHIFT)) * _ODD_2 & _MASK
    return (mixed ^ (mixed >> _SHIFT)).astype(np.int64)


def open_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Uniform draws above 0 and below 1, so that logit and log-log are finite."""
    return np.asarray(np.maximum(rng.random(shape), _TINY))


def gumbel(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Standard Gumbel draws, all finite."""
    return np.asarray(-np.log(-np.log(open_uniform(rng, shape))))


def draw_distinct(
    cumulative_N: npt.NDArray[np.float64], uniform_RK: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """K distinct indices a row, ascending, drawn by weight.

    A repeated draw moves to the next free index, so a row costs one sort even where K is N.

    Args:
        cumulative_N: Cumulative weights ending at 1; N at least K.
        uniform_RK: Uniform draws in [0, 1).
    """
    num_drawn = uniform_RK.shape[1]
    offset_K = np.arange(num_drawn)
    index_RK = np.sort(np.searchsorted(cumulative_N, uniform_RK, side="right"), axis=1)
    index_RK = np.maximum.accumulate(index_RK - offset_K, axis=1) + offset_K
    return np.asarray(np.minimum(index_RK, len(cumulative_N) - num_drawn + offset_K))


def cumulative(weight_N: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cumulative shares of positive weights, the last exactly 1."""
    total_N = np.cumsum(weight_N)
    return np.asarray(total_N / total_N[-1])
