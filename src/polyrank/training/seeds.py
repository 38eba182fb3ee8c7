"""Counter-based randomness: the stream of a step is a function of seed, step and process.

Nothing needs to be remembered: a run that resumes at step k draws what the uninterrupted run drew.
The generators of Python and NumPy are not used in the loop at all.
"""

from __future__ import annotations

import torch

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix(*words: int) -> int:
    """A 63-bit number from any integers, in order; neighbours give unrelated numbers.

    The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, figure 15), once a word.

    >>> mix(0, 1) != mix(1, 0)
    True
    """
    state = 0
    for word in words:
        state = _finalise((state + word + _GOLDEN) & _MASK)
    return state >> 1


def _finalise(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Start torch's generators for one step of one process (dropout draws from them)."""
    torch.manual_seed(mix(seed, step, rank))
